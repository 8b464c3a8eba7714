"""The load benchmark itself: what its generator measures, and one small round."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.serve_load import at_rate, flat_out, once, schedule
from tests.bench.stack import BenchError

ROOT = Path(__file__).parents[2]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
STALL_S = 0.4


class Server:
    """Answers on one connection; the first answer may be late, the status wrong."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.answer = OK
        self.stall = threading.Event()
        self.stall.set()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with self.listener:
            peer, _ = self.listener.accept()
            with peer:
                while peer.recv(4_096):
                    self.stall.wait(STALL_S)
                    self.stall.set()
                    peer.sendall(self.answer[:30])  # in two parts, as a network may bring it
                    peer.sendall(self.answer[30:])


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.listener.close()


def test_body_is_read_whole(server: Server) -> None:
    assert once(server.port, "/") == b"{}"


def test_wait_behind_a_late_answer_counts(server: Server) -> None:
    """Latency from the time of sending would show one late request instead of all that had to wait for it."""
    server.stall.clear()
    load = at_rate(server.port, "/", 1, 200, 1.0, seed=1)
    due_s = schedule(200, 1.0, 1)
    waiting = sum(due_s[0] < at_s < due_s[0] + STALL_S for at_s in due_s)
    late = sum(ms > 20 for ms in load.latencies_ms)
    assert load.requests == len(due_s)
    assert max(load.latencies_ms) >= STALL_S * 1e3
    assert late >= waiting * 0.8


def test_rate_is_kept_on_average() -> None:
    assert 4_500 < len(schedule(500, 10.0, 1)) < 5_500
    assert schedule(500, 1.0, 1) == schedule(500, 1.0, 1)


def test_wrong_answer_is_no_request(server: Server) -> None:
    server.answer = OK.replace(b"200 OK", b"429 No")
    with pytest.raises(BenchError, match="429"):
        flat_out(server.port, "/", 1, 5.0)


@pytest.mark.component
@pytest.mark.proof
def test_both_servers_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "tests.bench.serve", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert [run["server"] for run in found["runs"]] == ["tickcast", "fastapi"]
    assert found["figures"]["requests_per_s"] > 0
    assert found["peer"]["latest_p99_ms"] > 0
    assert set(found["figures"]["access_us"]) == {"anonymous", "keyed", "proxied"}
