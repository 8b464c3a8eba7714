"""FastAPI with the same view: parameters checked, rows chosen, times told, one JSON text written with msgspec."""

from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, HTTPException, Query, Response

from api.times import now_ms, rfc3339

__all__ = ["make_peer"]


def make_peer(body: str) -> FastAPI:
    """Serve the rows of one of our answers."""
    known = msgspec.json.decode(body)
    rows: list[dict[str, Any]] = known.pop("forecasts")
    pairs = {row["pair"] for row in rows}
    encoder = msgspec.json.Encoder()
    app = FastAPI()

    async def latest(
        pair: Annotated[str | None, Query(min_length=1, max_length=40)] = None,
        horizon_s: Annotated[int | None, Query(ge=1, le=604_800)] = None,
    ) -> Response:
        if pair is not None and pair not in pairs:
            raise HTTPException(404, "no such pair")
        found = [
            row
            for row in rows
            if (pair is None or row["pair"] == pair) and (horizon_s is None or row["horizon_s"] == horizon_s)
        ]
        at_ms = now_ms()
        content = encoder.encode(known | {"as_of_ms": at_ms, "as_of": rfc3339(at_ms), "forecasts": found})
        return Response(content, media_type="application/json", headers={"X-Tickcast-Source": "sim"})

    app.get("/v1/forecasts/latest")(latest)
    return app
