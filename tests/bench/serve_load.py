"""A load generator for one small request on kept connections: no framework, so that it is never the limit."""

from __future__ import annotations

import random
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tests.bench.stack import BenchError

__all__ = ["Load", "at_rate", "flat_out", "once"]

SILENCE_S = 10.0


class Load(msgspec.Struct, frozen=True):
    """What came of a run."""

    requests: int
    seconds: float
    latencies_ms: list[float]
    """Of each request, from the time at which it was due; where there is no schedule, from when it was sent."""
    behind_ms: float
    """Latest start of a request because the generator itself was late (not because all connections were busy), ms."""


class _Connection:
    """One request at a time."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._buffer = b""
        self._missing = -1
        self.due_s = 0.0

    def ask(self, due_s: float) -> None:
        self.due_s = due_s
        self._buffer, self._missing = b"", -1
        self.socket.sendall(self._request)

    def hear(self) -> bool:
        """Take what has come; True where the answer is whole."""
        chunk = self.socket.recv(65_536)
        if not chunk:
            raise BenchError("the server closed a connection")
        self._buffer += chunk
        if self._missing < 0:
            head, mark, body = self._buffer.partition(b"\r\n\r\n")
            if not mark:
                return False
            if not head.startswith(b"HTTP/1.1 200 "):
                raise BenchError(f"the server answered {head[:20].decode()}: {body.decode()[:200]}")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._missing = len(head) + 4 + int(length)
        return len(self._buffer) >= self._missing

    @property
    def body(self) -> bytes:
        return self._buffer.partition(b"\r\n\r\n")[2]


@contextmanager
def _connected(port: int, path: str, count: int) -> Iterator[tuple[select.epoll, dict[int, _Connection]]]:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\r\n".encode()
    poll = select.epoll()
    connections: dict[int, _Connection] = {}
    try:
        for _ in range(count):
            one = _Connection(port, request)
            connections[one.socket.fileno()] = one
            poll.register(one.socket, select.EPOLLIN)
        yield poll, connections
    finally:
        poll.close()
        for one in connections.values():
            one.socket.close()


def once(port: int, path: str) -> bytes:
    """Give the body of one answer."""
    with _connected(port, path, 1) as (_, connections):
        [one] = connections.values()
        one.ask(0.0)
        while not one.hear():
            pass
        return one.body


def flat_out(port: int, path: str, connections: int, seconds: float) -> Load:
    """Keep every connection busy for so long (closed loop)."""
    latencies: list[float] = []
    with _connected(port, path, connections) as (poll, known):
        start_s = time.perf_counter()
        end_s = start_s + seconds
        for one in known.values():
            one.ask(time.perf_counter())
        now_s = start_s
        while now_s < end_s:
            events = poll.poll(SILENCE_S)
            if not events:
                raise BenchError(f"no answer in {SILENCE_S:g} s")
            for number, _ in events:
                one = known[number]
                if one.hear():
                    now_s = time.perf_counter()
                    latencies.append((now_s - one.due_s) * 1e3)
                    one.ask(now_s)
    return Load(len(latencies), now_s - start_s, latencies, 0.0)


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Give Poisson arrivals, s from the start."""
    chance = random.Random(seed)
    at_s, due_s = 0.0, []
    while (at_s := at_s + chance.expovariate(rate)) < seconds:
        due_s.append(at_s)
    return due_s


def at_rate(port: int, path: str, connections: int, rate: float, seconds: float, seed: int) -> Load:
    """Ask at random times whatever the server does (open loop): a late answer makes later ones wait, and it counts."""
    coming = deque(schedule(rate, seconds, seed))
    latencies: list[float] = []
    behind_s = 0.0
    with _connected(port, path, connections) as (poll, known):
        free = deque(known.values())  # by turns: a connection that rests for 5 s is closed
        start_s = last_s = time.perf_counter()
        while coming or len(free) < connections:
            now_s = time.perf_counter()
            while coming and free and start_s + coming[0] <= now_s:
                due_s = start_s + coming.popleft()
                behind_s = max(behind_s, now_s - max(due_s, last_s))
                free.popleft().ask(due_s)
            for number, _ in poll.poll(0):  # it spins on its own core: a timer would be late by up to a millisecond
                one = known[number]
                if one.hear():
                    last_s = time.perf_counter()
                    latencies.append((last_s - one.due_s) * 1e3)
                    free.append(one)
            if now_s - last_s > SILENCE_S:
                raise BenchError(f"no answer in {SILENCE_S:g} s")
    return Load(len(latencies), last_s - start_s, latencies, round(behind_s * 1e3, 3))
