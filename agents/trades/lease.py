"""Who may publish the trades of a set of pairs: a lease that is read from a log. Pure: no Kafka, no clock.

Every process folds the same records in the same order (one partition) and comes to the same answer. A record's time is
the broker's append time, so no two machines' clocks are ever compared. A holder believes in its lease for `ttl_ms` from
the *sending* of the last record that it has read back, by its own clock, less a fifth: two believe at once only where
the broker's clock gains more than that fifth on the holder's within one lease.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = ["MAX_TTL_MS", "Lease", "LeaseLog", "LeaseRecord"]

MAX_TTL_MS: Final = 30_000
"""Longest lease that may be asked for: a reader that came late is in doubt for so long."""
_MARGIN: Final = 0.2
"""Share of the lease that the holder gives away, for clocks that do not run alike."""
_RENEWALS: Final = 5
"""Renewals within one lease (count)."""
_NEVER_S: Final = float("-inf")


class LeaseRecord(msgspec.Struct, frozen=True):
    """One record of topic `ingest-leases`: all pairs of a process at once, so that nobody ever has half of them."""

    kind: Literal["claim", "renew", "release"]
    holder: str
    """`HOST:PID#token` of the process."""
    pairs: list[str]
    epoch: int
    """Offset of the claim that was granted; -1 in a claim."""
    number: int
    """Counts the records of the holder."""
    ttl_ms: int


class Hold(msgspec.Struct):
    """The last lease of one pair."""

    holder: str
    epoch: int
    until_ms: int
    """Broker time of its end."""


class LeaseLog:
    """The fold of the log: who holds which pair until when.

    A reader that has not seen the whole log (it starts near the end, and compaction takes records out) begins in doubt:
    for one longest lease no claim is believed, for somebody unseen may hold the pair. A renewal is always believed
    against an older one, as only who was granted a claim renews it.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self._next_offset = 0
        self._doubt_until_ms = -1
        self.holds: dict[str, Hold] = {}

    def take(self, offset: int, at_ms: int, record: LeaseRecord) -> bool:
        """Fold the next record, appended at `at_ms`; tell whether it was granted."""
        if offset > self._next_offset:
            self.holds.clear()
            self._doubt_until_ms = at_ms + MAX_TTL_MS
        self._next_offset = offset + 1
        found = [hold for pair in record.pairs if (hold := self.holds.get(pair)) is not None]
        if record.kind == "release":
            for hold in found:
                if hold.holder == record.holder and hold.epoch == record.epoch:
                    hold.until_ms = at_ms
            return True
        others = [hold for hold in found if hold.holder != record.holder]
        if record.kind == "renew":
            if any(hold.epoch > record.epoch for hold in others):
                return False
            self._grant(record, record.epoch, at_ms)
            return True
        if any(hold.until_ms > at_ms for hold in others):
            return False
        if at_ms < self._doubt_until_ms:
            if record.holder != self._me:  # it may have been granted: its renewal will tell
                self._doubt_until_ms = max(self._doubt_until_ms, at_ms + record.ttl_ms)
            return False
        self._grant(record, offset, at_ms)
        return True

    def _grant(self, record: LeaseRecord, epoch: int, at_ms: int) -> None:
        for pair in record.pairs:
            before = self.holds.get(pair)
            newest = max(epoch, before.epoch) if before is not None and before.holder == record.holder else epoch
            self.holds[pair] = Hold(record.holder, newest, at_ms + record.ttl_ms)

    def free_at_ms(self, pairs: tuple[str, ...]) -> int:
        """Broker time from which a claim of ours would be granted, if nobody said anything more."""
        held = (self.holds[pair] for pair in pairs if pair in self.holds)
        return max([self._doubt_until_ms, *(hold.until_ms for hold in held if hold.holder != self._me)])

    def holder(self, pairs: tuple[str, ...]) -> str:
        """Name who holds any of the pairs longest; empty where nobody else does."""
        held = [self.holds[pair] for pair in pairs if pair in self.holds]
        others = [hold for hold in held if hold.holder != self._me]
        return max(others, key=lambda hold: hold.until_ms).holder if others else ""


class Lease:
    """One process and its set of pairs: what it holds, and what to say next.

    All `now_s` are of one clock of this machine, which must not be set back.
    """

    def __init__(self, me: str, pairs: tuple[str, ...], ttl_ms: int) -> None:
        if not 0 < ttl_ms <= MAX_TTL_MS:
            raise ValueError(f"ttl_ms {ttl_ms} is not above 0 and up to {MAX_TTL_MS}")
        self._me = me
        self._pairs = tuple(sorted(pairs))
        self._ttl_ms = ttl_ms
        self._log = LeaseLog(me)
        self._number = 0
        self._sent_s: dict[int, float] = {}
        self._said_s = _NEVER_S
        self._claim_s = 0.0
        self._epoch: int | None = None
        self._until_s = _NEVER_S
        self.grants = 0
        """Claims that were granted so far (count)."""
        self.losses = 0
        """Leases that somebody else has got since, or that were given back (count)."""

    @property
    def key(self) -> str:
        """Key of the records: the set of pairs."""
        return ",".join(self._pairs)

    @property
    def granted(self) -> bool:
        """Whether the log says that the lease is ours, as far as it was read; it may have run out since."""
        return self._epoch is not None

    @property
    def holder(self) -> str:
        """Who else holds it, as `HOST:PID`; empty where nobody is known."""
        return self._log.holder(self._pairs).partition("#")[0]

    def is_valid(self, now_s: float) -> bool:
        """Tell whether nobody else can have got it yet: only then anything may be sent."""
        return self._epoch is not None and now_s < self._until_s

    def caught_up(self, now_s: float) -> None:
        """Claim at once: how old the last record is can only be told by the next one."""
        self._claim_s = now_s

    def take(self, offset: int, at_ms: int, record: LeaseRecord, now_s: float) -> None:
        """Read the next record of the log."""
        granted = self._log.take(offset, at_ms, record)
        if record.holder == self._me:
            self._heard(offset, record, granted=granted)
        elif self._epoch is not None and self._overtaken(self._epoch):
            self._lose()
        if self._epoch is None:
            self._claim_s = now_s + max(0, self._log.free_at_ms(self._pairs) - at_ms) / 1_000

    def _heard(self, offset: int, record: LeaseRecord, *, granted: bool) -> None:
        """Read back a record of our own."""
        sent_s = self._sent_s.pop(record.number, _NEVER_S)
        self._sent_s = {number: at_s for number, at_s in self._sent_s.items() if number > record.number}
        if record.kind == "claim" and granted:
            self.grants += self._epoch is None
            self._epoch = offset
        elif record.kind == "renew" and not granted and self._epoch is not None:
            self._lose()
        if granted and self._epoch is not None and record.kind != "release":
            self._until_s = max(self._until_s, sent_s + self._ttl_ms / 1_000 * (1 - _MARGIN))

    def _overtaken(self, epoch: int) -> bool:
        holds = (self._log.holds.get(pair) for pair in self._pairs)
        return any(hold is not None and hold.holder != self._me and hold.epoch > epoch for hold in holds)

    def _lose(self) -> None:
        self._epoch, self._until_s = None, _NEVER_S
        self.losses += 1

    def next(self, now_s: float) -> LeaseRecord | None:
        """Give the record to send now, if there is one; `now_s` counts as its sending."""
        if self._epoch is not None:
            due_s = self._said_s + self._ttl_ms / 1_000 / _RENEWALS
            return self._say("renew", self._epoch, now_s) if now_s >= due_s else None
        claimed = bool(self._sent_s) and now_s < self._said_s + self._ttl_ms / 1_000
        return self._say("claim", -1, now_s) if now_s >= self._claim_s and not claimed else None

    def release(self, now_s: float) -> LeaseRecord | None:
        """Give the lease back: the record that says so, if it is ours."""
        if self._epoch is None:
            return None
        record = self._say("release", self._epoch, now_s)
        self._lose()
        return record

    def _say(self, kind: Literal["claim", "renew", "release"], epoch: int, now_s: float) -> LeaseRecord:
        self._number += 1
        self._said_s = self._sent_s[self._number] = now_s
        return LeaseRecord(kind, self._me, list(self._pairs), epoch, self._number, self._ttl_ms)
