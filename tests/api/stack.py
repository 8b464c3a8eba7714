"""One API on real parts: broker, store, HTTP and WebSocket over the loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pytest
import uvicorn
import websockets.sync.client as ws
from kafka import KafkaProducer
from websockets.exceptions import ConnectionClosed

from api.context import ApiContext
from api.server import listen, make_server
from api.settings import ApiSettings
from api.store import Store
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.records import Candle, Forecast, ForecastError
from tests.support.waiting import wait_for

SETTINGS: dict[str, Any] = {"api_port": 0, "source": "sim", "feed_probe_s": 0.2, "feed_backoff_max_s": 0.3}


class Api:
    """A running API and ways to talk to it."""

    def __init__(self, context: ApiContext, http: httpx.Client) -> None:
        self.context = context
        self.http = http

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.http.get(path, params=parameters)

    def wait_ready(self) -> None:
        try:
            wait_for(lambda: self.get("/health/ready").status_code == 200)
        except AssertionError:
            pytest.fail(f"not ready: {self.get('/health/ready').text}")

    def connect(self, **options: Any) -> ws.ClientConnection:
        url = str(self.http.base_url).replace("http", "ws", 1).rstrip("/")
        client: ws.ClientConnection = ws.connect(f"{url}/v1/feed", compression=None, proxy=None, **options)
        return client


@contextmanager
def running_api(home: Path, broker_url: str, store: StoreSettings, **changes: Any) -> Iterator[Api]:
    """Serve from a thread, on a free port, until the block ends."""
    settings = ApiSettings(home=home, **(SETTINGS | changes))
    context = ApiContext(settings, broker_url, Store(lambda: connect(store)))
    with (
        listen(settings) as listener,
        serving(make_server(context, listener), listener),
        httpx.Client(base_url=context.url, timeout=10, trust_env=False) as http,
    ):
        yield Api(context, http)


@contextmanager
def serving(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    """Run the server in a thread until the block ends."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


class Topics:
    """Writes records as the worker does."""

    def __init__(self, broker_url: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=broker_url, linger_ms=0)

    def put(self, topic: str, rows: Sequence[Candle | Forecast | ForecastError]) -> None:
        for row in rows:
            self.put_raw(topic, row.pair, msgspec.json.encode(row))
        self._producer.flush(timeout=20)

    def put_raw(self, topic: str, pair: str, value: bytes | None) -> None:
        self._producer.send(topic, key=pair.encode(), value=value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=5)


def say(client: ws.ClientConnection, method: str, req_id: int = 1, **params: Any) -> None:
    client.send(msgspec.json.encode({"method": method, "params": params, "req_id": req_id}).decode())


def hear(client: ws.ClientConnection, timeout_s: float = 10) -> dict[str, Any]:
    """Give the next message that is no heartbeat."""
    while True:
        message: dict[str, Any] = msgspec.json.decode(client.recv(timeout=timeout_s))
        if message.get("type") != "heartbeat":
            return message


def hear_beat(client: ws.ClientConnection) -> dict[str, Any]:
    """Give the next heartbeat."""
    while True:
        message: dict[str, Any] = msgspec.json.decode(client.recv(timeout=10))
        if message.get("type") == "heartbeat":
            return message


def hear_close(client: ws.ClientConnection) -> tuple[int, str]:
    """Read to the end and give the close code and reason that the server sent."""
    try:
        while True:
            client.recv(timeout=20)
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
