"""`tickcast ingest` on a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from redpanda import admin
from tests.support.ingest import IngestStack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kafka import KafkaAdminClient

    from redpanda.settings import BrokerSettings

pytestmark = pytest.mark.component
DEADLINE_S = 30.0
ETA = re.compile(r"backfill, seconds of history.*\d+/\d+.*\d:\d\d:\d\d")


def said(terminal: int) -> Iterator[str]:
    """Give what was written so far, again and again, until the deadline."""
    text = ""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 1 << 16).decode("utf-8", "replace")
        yield text


def test_a_long_backfill_shows_a_bar_and_when_it_will_be_over(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    admin.apply(broker_admin, broker_settings)
    more = {"TICKCAST_PAIRS": "BAR/USD", "TICKCAST_SINCE": "30m", "TICKCAST_REST_PER_S": "20", "COLUMNS": "120"}
    stack = IngestStack(tmp_path, broker_settings, TERM="xterm", **more)
    ours, theirs = pty.openpty()
    with stack.runs("sim"):
        service = subprocess.Popen([sys.executable, "-m", "app.cli", "ingest"], env=stack.environment, stderr=theirs)
        try:
            assert any(ETA.search(text) for text in said(ours)), "no bar with its end"
        finally:
            service.kill()
            service.wait()
            os.close(theirs)
            os.close(ours)
