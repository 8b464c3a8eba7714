"""What each kind of blow does to the running stack. Each gives its details for the line that is printed."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from redpanda.admin import Tail, last_records
from tests.chaos.evidence import CHANGELOGS, EVERYTHING
from tests.chaos.schedule import Kind, Step
from tests.chaos.stack import SESSION_S, Member, Stack
from tests.support.changelog import cut_head

__all__ = ["BLOWS", "strike"]

WAIT_LIVE_S: Final = 20.0
"""How long a blow that is meant for a working worker waits for one."""
Blow = Callable[[Stack, random.Random, float], str]


def strike(stack: Stack, step: Step, store_down_s: float) -> str:
    """Deal one blow; `store_down_s`: how long the store stays away."""
    stack.wait_repaired()
    return BLOWS[step.kind](stack, random.Random(step.seed), store_down_s)


def _kill(stack: Stack, chance: random.Random, _: float) -> str:
    with stack.lock:
        member, told = _killed(stack, chance)
        member.start()
    return told


def _wipe(stack: Stack, chance: random.Random, _: float) -> str:
    with stack.lock:
        member, told = _killed(stack, chance)
        shutil.rmtree(member.tables, ignore_errors=True)
        member.start()
    return told


def _tear(stack: Stack, chance: random.Random, _: float) -> str:
    """Cut one file of one database somewhere, as a full disk or a torn write would leave it."""
    with stack.lock:
        member, told = _killed(stack, chance)
        files = sorted(file for file in member.tables.glob("*.db/*") if _is_data(file))
        if files:
            file = chance.choice(files)
            size = file.stat().st_size
            left = chance.randrange(size)
            with file.open("r+b") as opened:
                opened.truncate(left)
            told += f", {file.parent.name}/{file.name} cut from {size} to {left} bytes"
        else:
            told += ", which had no database yet"
        member.start()
    return told


def _is_data(file: Path) -> bool:
    return not file.name.startswith("LOG") and file.name != "LOCK" and file.stat().st_size > 0


def _killed(stack: Stack, chance: random.Random) -> tuple[Member, str]:
    """Kill one of the running workers; where none runs, one that is only just being started."""
    member = chance.choice([one for one in stack.wanted() if one.running] or stack.wanted())
    if not member.running:
        member.start()
        stack.pause(0.1)
    stack.kills_at_work += member.live
    told = f"worker {member.number}, {'at work' if member.live else 'while it was starting'}"
    member.worker.kill()
    return member, told


def _broker(stack: Stack, chance: random.Random, _: float) -> str:
    down_s = chance.uniform(0.2, 5.0)
    answered_s = stack.restart_broker(down_s)
    return f"away for {down_s:.1f} s, answered {answered_s:.1f} s after its start"


def _stall(stack: Stack, chance: random.Random, _: float) -> str:
    member = chance.choice(stack.wanted())
    stack.wait_live(member, WAIT_LIVE_S)
    stalled_s = SESSION_S + chance.uniform(1.0, 4.0)
    member.worker.signal(signal.SIGSTOP)
    try:
        stack.pause(stalled_s)
    finally:
        member.worker.signal(signal.SIGCONT)
    among = f"among {len(stack.wanted())}, {'at work' if member.live else 'while it was starting'}"
    return f"worker {member.number} for {stalled_s:.1f} s of a session of {SESSION_S:g} s, {among}"


def _changelog(stack: Stack, chance: random.Random, _: float) -> str:
    """Delete only records that later ones of the same keys supersede: what compaction may take, and more at once."""
    table = chance.choice(sorted(CHANGELOGS))
    cuts, gone = {}, 0
    for partition, rows in last_records(stack.settings, CHANGELOGS[table], EVERYTHING).items():
        if rows and (cut := _oldest_that_counts(rows)) > rows[0].offset:
            cuts[partition] = cut
            gone += sum(row.offset < cut for row in rows)
    if cuts:
        cut_head(stack.settings, CHANGELOGS[table], cuts)
    return f"{table}: {gone} superseded records of {len(cuts)} partitions"


def _loss(stack: Stack, chance: random.Random, _: float) -> str:
    """Delete records that count, and every folder with a copy: only `tickcast rebuild` has an answer (repair.py)."""
    table = chance.choice(sorted(CHANGELOGS))
    with stack.lock:
        members = stack.wanted()
        for member in members:
            if member.running:
                member.worker.kill()
        cuts = {}
        for partition, rows in last_records(stack.settings, CHANGELOGS[table], EVERYTHING).items():
            if rows:
                cuts[partition] = chance.randint(_oldest_that_counts(rows), rows[-1].offset) + 1
        if cuts:
            cut_head(stack.settings, CHANGELOGS[table], cuts)
        for member in members:
            shutil.rmtree(member.tables, ignore_errors=True)
            member.start()
    return f"{table}: {len(cuts)} partitions, folders of {len(members)} workers"


def _oldest_that_counts(rows: list[Tail]) -> int:
    """Give the offset of the first record that none of the same key follows."""
    return min({row.key: row.offset for row in rows}.values())


def _store(stack: Stack, _: random.Random, down_s: float) -> str:
    with stack.lock:
        if stack.store_back_s is None:
            stack.store.kill()
        stack.store_back_s = time.monotonic() + down_s
    return f"for {down_s:g} s"


def _join(stack: Stack, _: random.Random, __: float) -> str:
    with stack.lock:
        member = next(one for one in stack.members if not one.wanted)
        member.wanted, member.failed_starts = True, 0
        member.start()
    return f"worker {member.number}, now {len(stack.wanted())}"


def _leave(stack: Stack, chance: random.Random, __: float) -> str:
    """Send the newest worker away, in order or by SIGKILL; its folder stays for its next turn."""
    in_order = chance.random() < 0.5
    with stack.lock:
        member = stack.wanted()[-1]
        member.wanted = False
    if member.running and in_order:
        member.worker.stop()
    elif member.running:
        member.worker.kill()
    return f"worker {member.number}, {'stopped in order' if in_order else 'killed'}, now {len(stack.wanted())}"


BLOWS: Final[dict[Kind, Blow]] = {
    Kind.KILL: _kill,
    Kind.WIPE: _wipe,
    Kind.TEAR: _tear,
    Kind.BROKER: _broker,
    Kind.STALL: _stall,
    Kind.CHANGELOG: _changelog,
    Kind.LOSS: _loss,
    Kind.STORE: _store,
    Kind.JOIN: _join,
    Kind.LEAVE: _leave,
}
