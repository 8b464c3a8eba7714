"""Ends what a killed supervisor left behind. A program of its own: `python guard.py GRACE_S`, fed on stdin.

The supervisor writes `+PGID` and `-PGID` lines. When stdin ends with groups still listed, the supervisor is
gone: on Linux its children already got SIGTERM from the kernel (redpanda/local/tether.py); what still lives
after the grace is killed.
"""

import os
import signal
import sys
import time


def main() -> None:
    grace_s = float(sys.argv[1])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    if not groups:
        return
    if sys.platform != "linux":
        _signal(groups, signal.SIGTERM)
    deadline_s = time.monotonic() + grace_s
    while groups and time.monotonic() < deadline_s:
        groups = _signal(groups, 0)
        time.sleep(0.1)
    _signal(groups, signal.SIGKILL)


def _signal(groups: set[int], number: int) -> set[int]:
    """Signal every group and give back those that still exist."""
    alive = set()
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            continue
        alive.add(group)
    return alive


if __name__ == "__main__":
    main()
