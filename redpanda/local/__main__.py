"""`python -m redpanda.local --home DIR --port N`: one broker in the foreground."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from redpanda.errors import TickcastError
from redpanda.local.broker import LocalBroker

if TYPE_CHECKING:
    from types import FrameType

_POLL_S = 1.0  # a join without a timeout would hold signals back


def _leave(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # stopping takes its second; a second Ctrl-C must not break it
    sys.exit(0)


def main() -> int:
    """Run until a signal (0) or until the broker fails (1)."""
    parser = argparse.ArgumentParser(prog="python -m redpanda.local", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".tickcast"), help="folder for data and logs")
    parser.add_argument("--port", type=int, default=19092, help="loopback port of the Kafka API")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)

    def say(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    try:
        with LocalBroker(options.home, options.port, say) as broker:
            say(f"broker ready on {broker.url}, process {broker.pid}")
            while not broker.wait_ended(_POLL_S):
                pass
            say(f"tickcast: {broker.why_ended()}")
    except TickcastError as error:
        say(f"tickcast: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
