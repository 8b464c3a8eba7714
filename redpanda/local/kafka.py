"""Apache Kafka in KRaft mode: broker and controller in one small JVM."""

from __future__ import annotations

import base64
import subprocess
import uuid
from pathlib import Path
from typing import Final

from redpanda.errors import TickcastError
from redpanda.local.checks import HOST, free_port

__all__ = ["command", "prepare", "properties"]

_NODE: Final = 1
_LOG_CONFIG: Final = Path(__file__).with_name("log4j2.properties")

# The largest record is a 1,000-trade REST page; 8 MiB leaves room for a producer's full batch.
_MAX_MESSAGE_BYTES: Final = 8 << 20

_JVM: Final = (
    "-server",
    "-Xms128m",
    "-Xmx384m",
    # The smallest collector (G1: 45 MB more), and the quick compiler only: with both, start and the first
    # million records take half the CPU time, which the rest of a demo on two cores needs.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    # Else every thread keeps a direct buffer as large as the largest record it has moved.
    f"-Djdk.nio.maxCachedBufferSize={1 << 20}",
    "-Djava.net.preferIPv4Stack=true",
)


def properties(port: int, controller_port: int) -> dict[str, str]:
    """Give the broker's configuration. Paths are relative to the data folder, so that it may be moved."""
    return {
        "process.roles": "broker,controller",
        "node.id": str(_NODE),
        "controller.quorum.voters": f"{_NODE}@{HOST}:{controller_port}",
        "listeners": f"BROKER://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"BROKER://{HOST}:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": "log",
        # A topic that is not declared is a mistake, and Faust fails on a wrong partition count.
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(_MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(_MAX_MESSAGE_BYTES),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # After a crash the next start waits until the old registration has run out (9 s by default).
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "log.cleaner.enable": "true",
        "log.cleaner.threads": "1",
        "log.cleaner.dedupe.buffer.size": str(16 << 20),  # 128 MiB by default: a third of the heap
        "log.segment.bytes": str(128 << 20),
    }


def prepare(java: str, jars: Path, data: Path, port: int) -> None:
    """Write the configuration and format the storage unless it already is."""
    lines = (f"{key}={value}\n" for key, value in properties(port, free_port(but=port)).items())
    (data / "server.properties").write_text("".join(lines))
    if (data / "log" / "meta.properties").exists():  # the format tool writes it last
        return
    tool = [java, "-Xmx128m", "-cp", f"{jars}/*", "kafka.tools.StorageTool"]
    tool += ["format", f"--cluster-id={_cluster_id()}", "--config=server.properties", "--ignore-formatted"]
    done = subprocess.run(tool, cwd=data, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  # our own jars
    if done.returncode != 0:
        raise TickcastError(
            f"the local broker's storage {data} cannot be formatted ({_reason(done.stderr or done.stdout)[:300]}): "
            "free its disk, set TICKCAST_HOME to another folder, or try again"
        )


def _reason(told: str) -> str:
    """Give the line that says why: of a stack trace its innermost cause, else the last line."""
    lines = [line for line in told.splitlines() if line and not line[0].isspace()]
    return lines[-1].removeprefix("Caused by: ") if lines else "no output"


def _cluster_id() -> str:
    """Give a random id as Kafka writes one: 16 bytes as unpadded URL-safe base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def command(java: str, jars: Path, log_file: Path) -> list[str]:
    """Give the command line of the broker; it has to run in the data folder."""
    logging = [f"-Dlog4j2.configurationFile={_LOG_CONFIG}", f"-Dtickcast.log={log_file}"]
    return [java, *_JVM, *logging, "-cp", f"{jars}/*", "kafka.Kafka", "server.properties"]
