"""Telling topic `models` which version of a model this worker answers with, whenever that changes."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Final

from aiokafka.errors import KafkaError

from agents.champions import ChampionWatch
from agents.chunk_app import ChunkApp
from agents.send import deliver, encode
from ml.model import ForecastModel
from redpanda.topics import MODELS
from tables.records import ModelInService

__all__ = ["ServiceLog", "in_service"]

logger = logging.getLogger("tickcast.models")

_LOOK_S: Final = 1.0
_PARTITION: Final = 0
"""All of them in one order."""


def in_service(model: ForecastModel, life_ms: int, worker: str, at_ms: int) -> ModelInService:
    """Describe a model that a worker answers with since `at_ms`."""
    return ModelInService(
        horizon_s=model.horizon_s,
        model=model.name,
        model_version=model.version,
        model_alias=model.alias,
        feature_set=model.feature_set,
        source=model.origin.source,
        data_to_ms=model.origin.data_to_ms,
        expires_at_ms=model.expires_at_ms(life_ms),
        worker=worker,
        at_ms=at_ms,
    )


class ServiceLog:
    """Sends one record a swap and horizon that a look once a second notices; never holds up a forecast.

    What could not be sent is tried again with the same time, so that the store takes it for the same row.
    """

    def __init__(self, app: ChunkApp, watch: ChampionWatch, life_ms: int) -> None:
        self._app = app
        self._watch = watch
        self._life_ms = life_ms
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._seen: dict[int, ForecastModel] = {}
        """What was noticed last, by horizon; a model is replaced whole, never changed."""
        self._untold: list[ModelInService] = []
        app.task(self._follow)

    async def _follow(self) -> None:
        while not self._app.should_stop:
            self.look(time.time_ns() // 1_000_000)
            if self._untold:
                await self.tell()
            await self._app.sleep(_LOOK_S)

    def look(self, now_ms: int) -> None:
        """Notice what has gone into service since the last look."""
        for horizon_s, model in self._watch.models.items():
            if self._seen.get(horizon_s) is not model:
                self._seen[horizon_s] = model
                self._untold.append(in_service(model, self._life_ms, self._worker, now_ms))

    async def tell(self) -> None:
        """Send what was noticed; all of it stays as it is for the next time where the broker does not take it."""
        records = [(str(one.horizon_s).encode(), encode(one)) for one in self._untold]
        try:
            await deliver(self._app, MODELS, _PARTITION, records)
        except KafkaError as error:
            logger.warning("What serves could not be told to topic %s, it is tried again: %s", MODELS, error)
        else:
            del self._untold[: len(records)]
