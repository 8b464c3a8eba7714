"""Exec probe of the pods: `probe.py URL`, or `probe.py NAME MAX_AGE_S [STATE ...]` for a status file.

Worker and ingest serve their health pages on the loopback only, out of the kubelet's reach, and the trainer has none;
all write TICKCAST_HOME/status/NAME.json each second. Exit code 0 is well. Standard library only: it starts often.
"""  # noqa: INP001  # mounted into the pods as a single file

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_S = 3


def answers(url: str) -> str:
    """Say what is wrong with a health page; empty when it answers 200."""
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT_S).close()  # noqa: S310  # the pod's own page
    except (urllib.error.URLError, OSError) as error:
        return f"{url}: {error}"
    return ""


def reports(name: str, max_age_s: float, states: list[str]) -> str:
    """Say what is wrong with a status file; empty when it is fresh and in one of the states (none: in any)."""
    file = Path(os.environ["TICKCAST_HOME"]) / "status" / f"{name}.json"
    try:
        status = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        return f"{file}: {error}"
    age_s = time.time() - status["at_ms"] / 1000
    if age_s > max_age_s:
        return f"{name} has said nothing for {age_s:.0f} s"
    if states and status["state"] not in states:
        return f"{name} is {status['state']}"
    return ""


def main(arguments: list[str]) -> int:
    """Give the exit code; what is wrong goes to stderr, which shows in the pod's events."""
    target, *rest = arguments
    wrong = answers(target) if target.startswith("http://") else reports(target, float(rest[0]), rest[1:])
    if wrong:
        sys.stderr.write(wrong + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
