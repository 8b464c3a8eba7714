"""The local stack: which processes, in which order, on which ports."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from app import home as homes
from app.ports import HOST, Ports, is_open
from app.processes import Spec, Supervisor
from redpanda.errors import ConfigError, TickcastError, UnreachableError
from tables.status import read_status

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from app.settings import AppSettings

__all__ = ["BROKER_PORT", "STOPPING", "Stack"]

BROKER_PORT: Final = 19092
STOPPING: Final = "stopping"
STOP_ORDER: Final = (("ingest", "trainer", "api"), ("worker",), ("store", "sim"), ("broker",))
# The first start fetches the broker's jars.
BROKER_READY_S: Final = 600.0
STORE_READY_S: Final = 120.0
SIM_READY_S: Final = 60.0
PART_READY_S: Final = 180.0
BROKER_SAYS: Final = "broker ready"
TRAINER_READY: Final = ("waiting", "training", "idle", "standby")
PORTS: Final = {
    "TICKCAST_STORE_PORT": "store_port",
    "TICKCAST_API_PORT": "api_port",
    "TICKCAST_SIM_PORT": "sim_port",
    "TICKCAST_INGEST_PORT": "ingest_port",
    "TICKCAST_WORKER_PORT": "worker_port",
}


class Stack:
    """All processes of one folder. Use it as a context: leaving it, however, leaves nothing running.

    Parameters
    ----------
    settings
        Where, what and which ports.
    on_wait
        Called a few times a second while something is being waited for, with a word on what.
    train
        Whether a trainer belongs to it.
    """

    def __init__(
        self, settings: AppSettings, *, on_wait: Callable[[str], None] = lambda _: None, train: bool = True
    ) -> None:
        self.settings = settings
        self.home = settings.home.absolute()
        self.env: dict[str, str] = {}
        self._on_wait = on_wait
        self._train = train
        self._ports = Ports()
        self._opened = ExitStack()
        self._supervisor: Supervisor | None = None

    @property
    def supervisor(self) -> Supervisor:
        if self._supervisor is None:
            raise RuntimeError("the stack is not entered")
        return self._supervisor

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.env['TICKCAST_API_PORT']}"

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(homes.hold(self.home))
            homes.prepare(self.home, self.settings.source)
            opened.callback(self._ports.close)
            self.env, own_broker = self._plan()
            os.environ.update(self.env)
            homes.remember(self.home, self.settings.source, self.env)
            self._supervisor = Supervisor(
                self.home / "logs", restarts=self.settings.restarts, grace_s=self.settings.stop_grace_s
            )
            opened.callback(self._supervisor.close, STOP_ORDER, wait=lambda: self._on_wait(STOPPING))
            self._start(own_broker=own_broker)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def tick(self) -> None:
        """Look after the processes; raises when one is beyond help."""
        self.supervisor.tick()

    def _plan(self) -> tuple[dict[str, str], bool]:
        """Give the environment of all children, and whether the broker is one of them."""
        # Those that somebody named first: the others go round them.
        wanted = sorted(PORTS.items(), key=lambda port: port[0] not in os.environ)
        env = {variable: str(self._ports.choose(variable, getattr(self.settings, name))) for variable, name in wanted}
        env["TICKCAST_HOME"] = str(self.home)
        env["TICKCAST_SOURCE"] = self.settings.source
        env["TICKCAST_PAIRS"] = ",".join(self.settings.pairs)
        env["TICKCAST_CLICKHOUSE_URL"] = os.environ.get("TICKCAST_CLICKHOUSE_URL", f"local://{self.home}/store")
        env["PYTHONUNBUFFERED"] = "1"
        env["TICKCAST_METRICS_ADDRESS"] = ""  # one process an address, and these are several
        broker_url, own_broker = _plan_broker(self._ports)
        env["TICKCAST_BROKER_URL"] = broker_url
        return env, own_broker

    def _start(self, *, own_broker: bool) -> None:
        from tables.clickhouse.settings import StoreSettings

        own_store = StoreSettings().is_local
        if own_broker:
            self._launch_broker()
        if own_store:
            (StoreSettings().local_folder / "endpoint.json").unlink(missing_ok=True)
            self._launch("store", "store", "serve")
        if self.settings.source == "sim":
            self._launch("sim", "sim")
        if self._train:
            # Early: it makes the first champions, which needs neither broker nor store and takes a while.
            self._launch("trainer", "train")
        # In processes of their own: the clients of both would stay in this one's memory to its end.
        self._wait("store", self._store_is_up, STORE_READY_S)
        self._launch("migrations", "store", "migrate", may_end=True)
        self._wait("broker", self._broker_is_up, BROKER_READY_S)
        self._launch("topics", "topics", "apply", may_end=True)
        for name in ("topics", "migrations"):
            self._wait(name, partial(self._is_done, name), PART_READY_S)
        if self.settings.source == "sim":
            port = int(self.env["TICKCAST_SIM_PORT"])
            self._wait("sim", lambda: is_open(port), SIM_READY_S)
        recorded = self.settings.source.startswith("replay:")
        self._launch("worker", "worker", grace_s=15.0)
        self._launch("api", "api")
        if recorded and self._train:
            # A recording is over in seconds and then stays so: forecast it from its first candle.
            self._wait("trainer", lambda: self._state_of("trainer") in TRAINER_READY, PART_READY_S)
            self._wait("worker", self._worker_forecasts, PART_READY_S)
        self._launch("ingest", "ingest", may_end=recorded)

    def _launch(self, name: str, *command: str, may_end: bool = False, grace_s: float | None = None) -> None:
        argv = (sys.executable, "-m", "app.cli", *command)
        grace_s = max(grace_s or 0.0, self.settings.stop_grace_s)
        self.supervisor.start(Spec(name, argv, may_end=may_end, grace_s=grace_s))

    def _launch_broker(self) -> None:
        port = self.env["TICKCAST_BROKER_URL"].rpartition(":")[2]
        argv = (sys.executable, "-m", "redpanda.local", "--home", str(self.home), "--port", port)
        # broker.log is the broker's own; this is what its launcher says.
        self.supervisor.start(Spec("broker", argv, grace_s=20.0, log="broker-start.log"))

    def _wait(self, name: str, ready: Callable[[], bool], limit_s: float) -> None:
        deadline_s = time.monotonic() + limit_s
        while not ready():
            self.tick()
            self._on_wait(name)
            if time.monotonic() > deadline_s:
                raise UnreachableError(
                    f"{name} was not ready within {limit_s:.0f} s: see {self.home / 'logs'}, then start again"
                )
            time.sleep(0.1)
        if child := self.supervisor.children.get(name):
            child.settled = True

    def _state_of(self, name: str) -> str:
        status = read_status(self.home, name)
        return status.state if status else ""

    def _worker_forecasts(self) -> bool:
        status = read_status(self.home, "worker")
        return status is not None and status.state == "live" and bool(status.detail.get("champions"))

    def _is_done(self, name: str) -> bool:
        return self.supervisor.children[name].state == "ended"

    def _broker_is_up(self) -> bool:
        broker = self.supervisor.children.get("broker")
        # Its launcher says so once it answers; the port alone is open earlier.
        return broker is None or any(text.startswith(BROKER_SAYS) for text in broker.tail())

    def _store_is_up(self) -> bool:
        from tables.clickhouse.settings import StoreSettings

        settings = StoreSettings()
        return not settings.is_local or (settings.local_folder / "endpoint.json").exists()


def _plan_broker(ports: Ports) -> tuple[str, bool]:
    """Give the broker's address and whether the stack has to start it.

    An address in TICKCAST_BROKER_URL is used when a broker answers there, and is where the local broker
    starts when the port is free.
    """
    from redpanda import admin
    from redpanda.settings import BrokerSettings

    if "TICKCAST_BROKER_URL" not in os.environ:
        return f"{HOST}:{ports.choose('TICKCAST_BROKER_URL', BROKER_PORT)}", True
    settings = BrokerSettings()
    url = settings.broker_url
    if url.rpartition(":")[0] in (HOST, "localhost") and ports.take(_port_of(url)):
        return url, True
    try:
        admin.connect(settings).close()
    except TickcastError as error:
        raise ConfigError(
            f"TICKCAST_BROKER_URL={url} is taken by something that is no Kafka broker, or not reachable: "
            f"unset it for a local broker, or point it to one ({error})"
        ) from error
    return url, False


def _port_of(url: str) -> int:
    return int(url.split(",", maxsplit=1)[0].rpartition(":")[2])
