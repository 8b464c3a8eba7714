"""Redpanda's image, for machines with a Docker engine and no Java."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from redpanda.local.checks import HOST

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["IMAGE", "command", "engine", "remove"]

IMAGE: Final = "redpandadata/redpanda:v26.2.3"
"""The same release as in compose.yaml; a test holds them together."""

_INNER_PORT: Final = 9092


def engine() -> str | None:
    """Give the path of a Docker client whose engine answers, or None."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    try:
        done = subprocess.run([docker, "info"], capture_output=True, timeout=10, check=False)  # noqa: S603  # found above
    except (OSError, subprocess.TimeoutExpired):
        return None
    return docker if done.returncode == 0 else None


def name(port: int) -> str:
    """Name the container after its port, which only one can hold."""
    return f"tickcast-broker-{port}"


def command(docker: str, data: Path, port: int) -> list[str]:
    """Give the command line that runs Redpanda in the foreground.

    The data lies in a Docker volume named after `data`: the image runs as a user of its own, who could
    not write to a folder of ours.
    """
    volume = f"tickcast-{hashlib.sha256(bytes(data)).hexdigest()[:12]}"
    run = [docker, "run", "--rm", "--name", name(port), "--memory", "1g"]
    run += ["--publish", f"{HOST}:{port}:{_INNER_PORT}", "--volume", f"{volume}:/var/lib/redpanda/data"]
    start = ["redpanda", "start", "--node-id=0", "--check=false"]
    start += ["--smp=1", "--memory=768M", "--reserve-memory=0M", "--overprovisioned"]
    start += [f"--kafka-addr=0.0.0.0:{_INNER_PORT}", f"--advertise-kafka-addr={HOST}:{port}"]
    start += ["--set", "redpanda.auto_create_topics_enabled=false"]
    start += ["--set", "redpanda.group_initial_rebalance_delay=0"]
    start += ["--set", f"redpanda.kafka_batch_max_bytes={8 << 20}"]
    return [*run, IMAGE, *start]


def remove(docker: str, port: int) -> None:
    """Remove a container that outlived its client; nothing to do is fine."""
    subprocess.run([docker, "rm", "--force", name(port)], capture_output=True, timeout=30, check=False)  # noqa: S603  # found by engine()
