"""Everything that can be wrong before the local broker starts is told in one line with the next step."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from redpanda.errors import ConfigError, MissingToolError, TickcastError, UnreachableError
from redpanda.local import LocalBroker, broker, checks, container, jars, kafka

if TYPE_CHECKING:
    from pathlib import Path


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH is one empty folder, and nothing has been fetched yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("TICKCAST_CACHE", str(tmp_path / "cache"))
    return folder


def _refused(home: Path, port: int | None = None) -> str:
    """Start a broker that cannot start and give the reason."""
    local = LocalBroker(home, port or checks.free_port())
    with pytest.raises(TickcastError) as caught:
        local.start()
    assert not local.running
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_busy_port_names_the_setting_and_the_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        told = _refused(tmp_path, held.getsockname()[1])
    assert re.match(r"ConfigError: port \d+ of TICKCAST_BROKER_URL is in use by process \d+ .*stop that process", told)


def test_controller_never_gets_the_port_of_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = checks.free_port()
    other = checks.free_port(but=port)
    monkeypatch.setattr(checks, "_given", set())
    monkeypatch.setattr(secrets.SystemRandom, "sample", lambda *_: [port, other])
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "meta.properties").touch()  # formatted already: only the configuration is written
    kafka.prepare("java", tmp_path, tmp_path, port)
    listeners = f"listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{other}"
    assert listeners in (tmp_path / "server.properties").read_text().splitlines()


def test_a_port_is_given_once_although_nobody_has_bound_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = checks.free_port(), checks.free_port()
    monkeypatch.setattr(secrets.SystemRandom, "sample", lambda *_: [first, second])
    with pytest.raises(ConfigError, match="no port of 20000 to 31999 is free"):
        checks.free_port()


def test_storage_that_cannot_be_formatted_names_the_innermost_cause(tmp_path: Path) -> None:
    trace = (
        'Exception in thread "main" java.io.UncheckedIOException: Error writing\n\tat Formatter.run\n'
        "Caused by: java.io.IOException: No space left on device\n\tat FileChannelImpl.write\n\t... 11 more"
    )
    _program(tmp_path / "bin", "java", f"cat >&2 <<'END'\n{trace}\nEND\nexit 1")
    with pytest.raises(TickcastError, match=r"cannot be formatted \(java\.io\.IOException: No space left on device\)"):
        kafka.prepare(str(tmp_path / "bin" / "java"), tmp_path, tmp_path, checks.free_port())


def test_missing_java_says_what_to_install(tmp_path: Path, only_path: Path) -> None:
    assert not list(only_path.iterdir())
    told = _refused(tmp_path)
    assert told.startswith("MissingToolError: the local broker needs Java")
    assert "install Java 17" in told
    assert "TICKCAST_BROKER_URL" in told


def test_old_java_is_refused(tmp_path: Path, only_path: Path) -> None:
    _program(only_path, "java", """echo 'openjdk version "11.0.22" 2024-01-16' >&2""")
    told = _refused(tmp_path)
    assert "is Java 11, the local broker needs 17" in told


def test_java_home_goes_before_path(tmp_path: Path, only_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(only_path, "java", "exit 1")
    (tmp_path / "jdk").mkdir()
    _program(tmp_path / "jdk" / "bin", "java", """echo 'openjdk version "21.0.2"' >&2""")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert checks.find_java() == str(tmp_path / "jdk" / "bin" / "java")


def test_missing_maven_says_what_to_install(tmp_path: Path, only_path: Path) -> None:
    _program(only_path, "java", """echo 'openjdk version "17.0.1"' >&2""")
    assert "fetched by Maven and there is none: install it" in _refused(tmp_path)


@pytest.mark.component
def test_jars_that_maven_cannot_fetch_leave_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("mvn") is None:
        pytest.skip("Maven is not installed")
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text("<settings><offline>true</offline></settings>")
    monkeypatch.setenv("MAVEN_OPTS", f"-Duser.home={tmp_path}")
    monkeypatch.setenv("TICKCAST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UnreachableError, match=r"Maven could not fetch .*settings\.xml, then try again"):
        jars.resolve()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["maven.log"]


def test_full_disk_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "_NEED_MB", 1 << 40)
    told = _refused(tmp_path)
    assert told.startswith("ConfigError: disk full")
    assert "TICKCAST_HOME" in told


def test_home_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "set TICKCAST_HOME to another folder" in _refused(tmp_path / "file")


def test_folder_of_another_broker_is_refused(tmp_path: Path) -> None:
    lock = checks.lock_folder(tmp_path, 0)
    with pytest.raises(ConfigError, match="another broker runs on"):
        checks.lock_folder(tmp_path, 0.2)
    os.close(lock)
    os.close(checks.lock_folder(tmp_path, 0))


def test_docker_is_taken_only_where_its_engine_answers(only_path: Path) -> None:
    assert container.engine() is None
    _program(only_path, "docker", "exit 1")
    assert container.engine() is None
    _program(only_path, "docker", "exit 0")
    assert container.engine() == str(only_path / "docker")


def test_without_java_and_maven_docker_runs_the_pinned_image(tmp_path: Path, only_path: Path) -> None:
    _program(only_path, "docker", f'echo "$@" >> {tmp_path}/calls')
    local = LocalBroker(tmp_path, checks.free_port())
    local.start()
    assert local.wait_ended(10)
    local.stop()
    calls = (tmp_path / "calls").read_text().splitlines()
    removal = f"rm --force tickcast-broker-{local.port}"
    assert [calls[0], calls[1], calls[3]] == ["info", removal, removal]
    assert f"--publish 127.0.0.1:{local.port}:9092" in calls[2]
    assert container.IMAGE in calls[2]


def test_missing_tool_is_not_retriable_and_an_absent_network_is() -> None:
    assert not MissingToolError.retriable
    assert UnreachableError.retriable
