"""Answers that no MLflow server should give; that it gives the right ones: tests/agents/test_model_swap_server.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml import served
from ml.alias import Target
from ml.artefact import FORECASTER, TREES
from ml.served import ServedRegistry
from redpanda.errors import UnreachableError

ALIAS = "/mlflow/api/2.0/mlflow/registered-models/alias?name=tickcast-60s&alias=champion"
FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts/1/a%20run/artifacts/model/"
SOURCE = "mlflow-artifacts:/1/a run/artifacts/model"


class Oddly(BaseHTTPRequestHandler):
    """Gives what the server's `answers` say: a status and a body by path; a promised length may differ."""

    def do_GET(self) -> None:
        status, body, length = self.server.answers.get(self.path, (404, b"{}", 2))  # type: ignore[attr-defined]  # ours
        if length < 0:  # hang until the test is over
            self.server.over.wait(60)  # type: ignore[attr-defined]  # ours
            return
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Odd:
    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Oddly)
        self.answers: dict[str, tuple[int, bytes, int]] = {}
        self.over = threading.Event()
        vars(self.server).update(answers=self.answers, over=self.over)
        self.registry = ServedRegistry(f"http://127.0.0.1:{self.server.server_port}/mlflow/")

    def say(self, path: str, body: bytes, status: int = 200, length: int | None = None) -> None:
        self.answers[path] = (status, body, len(body) if length is None else length)


@pytest.fixture
def odd() -> Iterator[Odd]:
    made = Odd()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.over.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_alias_is_where_the_answer_says(odd: Odd) -> None:
    odd.say(ALIAS, json.dumps({"model_version": {"version": "7", "source": SOURCE, "more": [1]}}).encode())
    assert odd.registry.target("tickcast-60s", "champion") == Target("7", SOURCE)


@pytest.mark.parametrize("code", ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"])
def test_alias_that_is_not_there_is_none(odd: Odd, code: str) -> None:
    odd.say(ALIAS, json.dumps({"error_code": code}).encode(), 404)
    assert odd.registry.target("tickcast-60s", "champion") is None


@pytest.mark.parametrize(
    ("body", "status", "length"),
    [
        (b"<html>", 200, None),
        (b"{}", 200, None),
        (b'{"model_version": {"version": 7}}', 200, None),
        (b"<html>not found", 404, None),
        (b'{"error_code": "INTERNAL_ERROR"}', 500, None),
        (b'{"error_code": "PERMISSION_DENIED"}', 403, None),
        (b'{"model_version": {"version": "7", "source": "s"}}', 200, 100),
    ],
)
def test_any_other_answer_is_no_answer(odd: Odd, body: bytes, status: int, length: int | None) -> None:
    odd.say(ALIAS, body, status, length)
    with pytest.raises(UnreachableError, match=r"did not answer.*TICKCAST_MLFLOW_URI"):
        odd.registry.target("tickcast-60s", "champion")


def test_silence_is_no_answer(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "ASK_S", 0.2)
    odd.say(ALIAS, b"", length=-1)
    with pytest.raises(UnreachableError, match="timed out"):
        odd.registry.target("tickcast-60s", "champion")


def test_nobody_there_is_no_answer(tmp_path: Path) -> None:
    registry = ServedRegistry("http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="refused"):
        registry.target("tickcast-60s", "champion")
    with pytest.raises(UnreachableError, match="refused"):
        registry.fetch(SOURCE, tmp_path)


def test_files_that_are_there_are_copied(odd: Odd, tmp_path: Path) -> None:
    odd.say(FILES + FORECASTER, b"one")
    odd.registry.fetch(SOURCE, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {FORECASTER}, "a baseline has no trees"
    odd.say(FILES + TREES, b"two")
    odd.registry.fetch(SOURCE, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in (FORECASTER, TREES)] == [b"one", b"two"]


@pytest.mark.parametrize(("status", "length"), [(500, None), (200, 1_000)])
def test_file_that_does_not_come_whole_is_not_kept(odd: Odd, tmp_path: Path, status: int, length: int | None) -> None:
    odd.say(FILES + FORECASTER, b"one", status, length)
    with pytest.raises(UnreachableError):
        odd.registry.fetch(SOURCE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_too_large_is_not_kept(odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MAX_BYTES", 2)
    odd.say(FILES + FORECASTER, b"one")
    with pytest.raises(UnreachableError, match="whole"):
        odd.registry.fetch(SOURCE, tmp_path)


@pytest.mark.parametrize(
    ("uri", "environment", "expected"),
    [
        ("http://mlflow:5000", {}, True),
        ("http://mlflow:5000", {"MLFLOW_TRACKING_URI": "http://other"}, True),
        ("https://mlflow/prefix", {}, True),
        ("http://mlflow:5000", {"MLFLOW_TRACKING_TOKEN": "secret"}, False),
        ("http://mlflow:5000", {"MLFLOW_TRACKING_USERNAME": "me"}, False),
        ("http://mlflow:5000", {"MLFLOW_TRACKING_INSECURE_TLS": "true"}, False),
        ("http://mlflow:5000", {"MLFLOW_WORKSPACE": "ours"}, False),
        ("http://me:secret@mlflow:5000", {}, False),
        ("sqlite:////registry.db", {}, False),
        ("postgresql://host/db", {}, False),
    ],
)
def test_what_needs_more_than_plain_http_goes_through_mlflow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uri: str, environment: dict[str, str], expected: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert ServedRegistry.may_ask(uri, environment) is expected
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").touch()
    assert not ServedRegistry.may_ask(uri, environment)


def test_proxy_is_left_to_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not ServedRegistry.may_ask("http://mlflow:5000", {})
    assert ServedRegistry.may_ask("http://127.0.0.1:5000", {})


def test_only_artefacts_of_the_server_itself_come_from_it() -> None:
    assert ServedRegistry.serves(SOURCE)
    assert not ServedRegistry.serves("mlflow-artifacts://other:5000/1/run/artifacts/model")
    assert not ServedRegistry.serves("s3://bucket/1/run/artifacts/model")
