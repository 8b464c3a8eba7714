"""The exec probe of the pods, run as the kubelet runs it."""

from __future__ import annotations

import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import msgspec

from tables.status import Status, write_status

PROBE = Path(__file__).parents[2] / "k8s" / "base" / "probe.py"


def probe(home: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(PROBE), *arguments],
        env={"TICKCAST_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_fresh_status_in_a_good_state_is_well(tmp_path: Path) -> None:
    write_status(tmp_path, Status(name="worker", state="live"))
    assert probe(tmp_path, "worker", "30", "recovery", "live") == (0, "")
    assert probe(tmp_path, "worker", "30") == (0, "")


def test_another_state_is_told(tmp_path: Path) -> None:
    write_status(tmp_path, Status(name="worker", state="recovery"))
    assert probe(tmp_path, "worker", "30", "live") == (1, "worker is recovery\n")


def test_old_status_is_told(tmp_path: Path) -> None:
    (tmp_path / "status").mkdir()
    old = Status(name="worker", state="live", at_ms=int(time.time() * 1000) - 90_000)
    (tmp_path / "status" / "worker.json").write_bytes(msgspec.json.encode(old))
    code, said = probe(tmp_path, "worker", "30", "live")
    assert code == 1
    assert said.startswith("worker has said nothing for 9")


def test_missing_status_is_told(tmp_path: Path) -> None:
    code, said = probe(tmp_path, "worker", "30")
    assert code == 1
    assert "worker.json" in said


def test_health_page_decides(tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert probe(tmp_path, f"{url}/health") == (0, "")
        code, said = probe(tmp_path, f"{url}/ready")
        server.shutdown()
    assert code == 1
    assert "503" in said
    assert probe(tmp_path, f"{url}/health")[0] == 1
