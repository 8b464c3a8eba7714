"""The local stack under the blows: broker, store, and workers that are started again whenever they end."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Final

from kafka.errors import KafkaError

from redpanda.admin import apply, connect, end_offsets
from redpanda.errors import TickcastError
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES, DEAD_LETTERS, FEATURES, HOLES, TRADES, TRADES_LATE
from tables.clickhouse import client as clickhouse
from tables.clickhouse import migrate
from tables.clickhouse.settings import StoreSettings
from tests.chaos.repair import Repair
from tests.support.store import StoreProcess
from tests.support.worker import Worker

__all__ = ["SESSION_S", "WORKERS", "Member", "Stack"]

WORKERS: Final = 3
SESSION_S: Final = 6.0
LOOK_EVERY_S: Final = 0.05
FIRST_BACKOFF_S: Final = 0.5
LAST_BACKOFF_S: Final = 4.0
QUIET_FOR_S: Final = 7.0
"""Longer than the timer that closes the last windows of an idle pair."""
WATCHED: Final = (TRADES, CANDLES, FEATURES, TRADES_LATE, HOLES, DEAD_LETTERS)


class Member:
    """One worker of the group: whether it should run, and how it has fared."""

    def __init__(self, number: int, folder: Path, broker_url: str, store: StoreProcess) -> None:
        self.number = number
        self.home = folder / f"worker-{number}"
        self.home.mkdir()
        self.worker = Worker(
            self.home,
            broker_url,
            "candles,features,sinks",
            TICKCAST_CLICKHOUSE_URL=f"local://{store.folder}",
            TICKCAST_STORE_PORT=str(store.port),
            TICKCAST_SESSION_TIMEOUT_S=f"{SESSION_S:g}",
        )
        self.wanted = False
        self.live = False
        self.started_s = 0.0
        self.not_before_s = 0.0
        self.failed_starts = 0

    @property
    def running(self) -> bool:
        return self.worker.started and self.worker.exit_code is None

    @property
    def tables(self) -> Path:
        """Folder of its RocksDB databases."""
        return self.home / "worker" / "0" / "v1" / "tables"

    def start(self) -> None:
        self.live = False
        self.started_s = time.monotonic()
        self.worker.start()

    def last_words(self) -> str:
        """Give the last line of its log that says something went wrong, else the last line."""
        lines = (self.home / "worker.log").read_bytes()[-20_000:].decode("utf-8", "replace").strip().splitlines()
        telling = [line for line in lines if "Error" in line or "error" in line or "CRITICAL" in line]
        return (telling or lines or ["no log"])[-1][:200]


class Stack:
    """Starts everything, keeps it running, and counts what happened without being asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        """Held while a worker is struck and started again, and while the keeper looks."""
        self.recoveries_s: list[float] = []
        """From each start of a worker that lived so long until it was live (s)."""
        self.exits: list[str] = []
        """Ends of workers that nobody struck, with their last words."""
        self.exits_without_broker = 0
        self.kills_at_work = 0
        self.store_back_s: float | None = None
        """When the store is to be started again (monotonic s); None while it runs."""
        self.broker = LocalBroker(folder, free_port())
        self.settings = BrokerSettings(broker_url=self.broker.url)
        self.store = StoreProcess(folder)
        self.members = [Member(number, folder, self.broker.url, self.store) for number in range(WORKERS)]
        self.repair = Repair(
            {
                "TICKCAST_HOME": str(folder),
                "TICKCAST_BROKER_URL": self.broker.url,
                "TICKCAST_CLICKHOUSE_URL": f"local://{self.store.folder}",
                "TICKCAST_STORE_PORT": str(self.store.port),
            },
            folder / "rebuild.log",
        )
        self.failure: BaseException | None = None
        self._broker_down = False
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Start broker, store and the first worker; return when it is live."""
        self.broker.start()
        self.store.start()
        self.broker.wait_ready()
        with connect(self.settings) as admin:
            apply(admin, self.settings)
        client = clickhouse.connect(self.store_settings)
        migrate.apply(client)
        client.close()
        self.members[0].wanted = True
        self._keeper.start()
        self.wait_live(self.members[0], 90.0)

    @property
    def store_settings(self) -> StoreSettings:
        return self.store.settings()

    def wanted(self) -> list[Member]:
        return [member for member in self.members if member.wanted]

    def wait_live(self, member: Member, timeout_s: float) -> bool:
        """Wait for a worker to be live; tell whether it is."""
        deadline_s = time.monotonic() + timeout_s
        while not member.live and time.monotonic() < deadline_s:
            self.pause(LOOK_EVERY_S)
        return member.live

    def wait_repaired(self) -> None:
        """Wait while the operator has all workers stopped."""
        while self.repair.needed:
            self.pause(LOOK_EVERY_S)

    def pause(self, for_s: float) -> None:
        """Let it run for so long; raise what broke the keeper meanwhile."""
        self._ending.wait(for_s)
        if self.failure is not None:
            raise AssertionError("the stack could not be kept running") from self.failure

    def restart_broker(self, down_s: float) -> float:
        """Kill the broker and start it in the same folder and port; give the seconds until it answered again."""
        self._broker_down = True
        self.broker.kill()
        self.pause(down_s)
        started_s = time.monotonic()
        self.broker.start()
        self.broker.wait_ready(60)
        self._broker_down = False
        return time.monotonic() - started_s

    def settle(self, timeout_s: float) -> str:
        """Wait until one worker has nothing left to do and no topic grows; give what is wrong if it does not."""
        first, deadline_s = self.members[0], time.monotonic() + timeout_s
        ends, quiet_s = self._ends(), time.monotonic()
        while time.monotonic() < deadline_s:
            self.pause(0.5)
            now, before = self._ends(), ends
            ends = now
            if now != before or not now or not first.live or first.worker.counters().get("lag") != 0:
                quiet_s = time.monotonic()
            if time.monotonic() - quiet_s >= QUIET_FOR_S:
                return ""
        status = first.worker.status()
        told = (
            f"{status.state}, lag {status.counters.get('lag')}, {status.detail.get('partitions')}" if status else "none"
        )
        return f"the worker was not done {timeout_s:g} s after the last trade; its status: {told}"

    def _ends(self) -> dict[tuple[str, int], int]:
        try:
            return end_offsets(self.settings, WATCHED)
        except (TickcastError, KafkaError):
            return {}

    def _keep(self) -> None:
        try:
            while not self._ending.wait(LOOK_EVERY_S):
                with self.lock:
                    self._look()
        except BaseException as error:
            self.failure = error
            raise

    def _look(self) -> None:
        now_s = time.monotonic()
        if self.store_back_s is not None and now_s >= self.store_back_s:
            self.store_back_s = None
            self.store.start()
        if self.repair.needed:
            if self.repair.step([member.worker for member in self.members], now_s):
                for member in self.wanted():
                    member.start()
            return
        for member in self.wanted():
            if not member.running:
                self._revive(member, now_s)
            elif not member.live and (status := member.worker.status()) is not None and status.state == "live":
                member.live, member.failed_starts = True, 0
                self.recoveries_s.append(now_s - member.started_s)

    def _revive(self, member: Member, now_s: float) -> None:
        """Start a worker that ended of itself, as a supervisor would: at once, then after growing pauses."""
        if not member.worker.started:
            member.start()
            return
        if member.not_before_s <= member.started_s:
            if self._broker_down or not self.broker.running:
                self.exits_without_broker += 1
            else:
                self.exits.append(
                    f"worker {member.number} (exit code {member.worker.exit_code}): {member.last_words()}"
                )
            if "has lost rows" in member.last_words():
                self.repair.begin(now_s)
            pause_s = min(FIRST_BACKOFF_S * 2**member.failed_starts, LAST_BACKOFF_S)
            member.failed_starts += 1
            member.live, member.not_before_s = False, now_s + pause_s
        elif now_s >= member.not_before_s:
            member.start()

    def stop_workers(self) -> list[str]:
        """End all workers in order, so that their tables can be read; name those that had to be killed."""
        stuck: list[str] = []
        with self.lock:
            for member in self.members:
                running, member.wanted = member.running, False
                member.worker.close()
                if running and member.worker.exit_code == -signal.SIGKILL:
                    stuck.append(f"worker {member.number} did not end within 15 s of SIGTERM and was killed")
        return stuck

    def close(self) -> None:
        """End everything that was started, whatever state it is in."""
        self._ending.set()
        if self._keeper.ident is not None:
            self._keeper.join(60)
        for member in self.members:
            member.worker.signal(signal.SIGCONT)  # a stopped process does not hear SIGTERM
            member.worker.close()
        self.repair.close()
        if self.store.process is not None and self.store.process.poll() is None:
            self.store.kill()
        self.broker.stop()
