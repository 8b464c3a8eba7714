"""Three pairs of one partition under the candle fold, with a table, a log and crashes; no rules, no chance."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tables.candles import CandleRules, FoldOutput, PairCandles
from tables.candles.ranges import holes
from tables.candles.state import state_key
from tables.records import MINUTE_MS, TIMEFRAME_MS, Trade
from tests.support.candle_log import DUPLICATE, FUTURE, LATE, TAKEN, Entry, Folded, PairModel, made_trade, ranges_of
from tests.support.candle_view import Line, Reader

__all__ = ["HOUR_MS", "MACHINE_RULES", "PAIRS", "Partition"]

PAIRS = ("BTC/USD", "ETH/USD", "OLD/USD")
SOURCES = dict(zip(PAIRS, ("kraken", "kraken", "replay"), strict=True))
HOUR_MS = 3_600_000
MACHINE_RULES = CandleRules(lateness_ms=2_000, retention_ms=900_000, idle_fill_max_ms=2 * HOUR_MS)
START_MS = 1_526_187_623_000
_Saved = tuple[bytes | None, int, int]
"""Row of a pair, number of log entries in it, and length of the line that it has given."""


class OnePair:
    """One pair: fold, model, what was published, and all its rows since the last commit."""

    def __init__(self, pair: str, table: dict[bytes, bytes]) -> None:
        self.pair = pair
        self.table = table
        self.next_id = 1
        self.held: list[Trade] = []
        """Traded, and missing in the log so far."""
        self.model = PairModel(MACHINE_RULES)
        self.folded = Folded()
        self.line = Line()
        self.reader = Reader()
        self.reached = 0
        """Entries of the log, from its start, that the state has seen."""
        self.saved: list[_Saved] = [(None, 0, 0)]
        self.fold = PairCandles(pair, MACHINE_RULES, table.get)

    def restart(self) -> None:
        """Take the state from its bytes, which tell all of it."""
        self.fold = PairCandles(self.pair, MACHINE_RULES, self.table.get)
        row = self.table.get(state_key(self.pair))
        assert row is None or self.fold.state.pack() == row

    def fall_back(self, at: int, log: Sequence[Entry]) -> None:
        """Have the state of a row again, and none of what came after it."""
        row, reached, given = self.saved[at]
        del self.saved[at + 1 :]
        self.table.pop(state_key(self.pair), None)
        if row is not None:
            self.table[state_key(self.pair)] = row
        self.reached, self.folded = reached, Folded()
        for entry in log[:reached]:
            self.note(entry)
        self.line.cut(given)
        self.restart()

    def note(self, entry: Entry) -> None:
        if entry.pair == self.pair:
            for trade, fate in zip(entry.trades, entry.fates, strict=True):
                if fate == TAKEN:
                    self.folded.add(trade)

    def publish(self, output: FoldOutput) -> None:
        newest: dict[tuple[str, int], int] = {}
        for at, candle in enumerate(output.candles):
            assert candle.pair == self.pair
            self.line.add(candle)
            self.reader.take(candle)
            newest[candle.timeframe, candle.open_ms] = at
        final = [output.candles[at] for at in newest.values()]
        # A recording that was over, and goes on: its larger candles stood as they were, and are whole with their end.
        whole = [one for one in final if one.open_ms + TIMEFRAME_MS[one.timeframe] <= self.line.frontier_ms]  # type: ignore[index]  # one of the six
        problems = [problem for one in whole if (problem := self.folded.problem_of(one, self.line.minutes))]
        assert problems == []
        self.line.assert_whole()

    def write(self, output: FoldOutput) -> None:
        if output.row is not None:
            self.table[state_key(self.pair)] = output.row
        self.saved.append((self.table.get(state_key(self.pair)), self.reached, len(self.line)))

    def assert_ids(self) -> None:
        """The holes are known exactly."""
        ids = self.folded.ids()
        assert self.fold.state.applied == ranges_of(ids)
        missing = {one for low, high in holes(self.fold.state.applied) for one in range(low, high + 1)}
        assert missing == (set(range(ids[0], ids[-1])) - set(ids) if ids else set())


class Partition:
    """The log, the place in it, and the pairs."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.pairs = {pair: OnePair(pair, self.table) for pair in PAIRS}
        self.log: list[Entry] = []
        self.now_ms = START_MS
        self.latest_ms = START_MS
        """The latest that any clock has said."""
        self.position = self.committed = 0

    def trade(self, pair: str, ts_ms: int) -> Trade:
        one = self.pairs[pair]
        one.next_id += 1
        return made_trade(pair, one.next_id - 1, ts_ms, SOURCES[pair])

    def append(self, pair: str, trades: Sequence[Trade]) -> None:
        """Put an envelope behind the log."""
        model = self.pairs[pair].model
        fates = tuple(model.judge(trade, self.now_ms) for trade in trades)
        self.log.append(Entry(pair, tuple(trades), self.now_ms, fates))

    def poll(self, count: int, unwritten: Collection[str] = ()) -> None:
        """Fold the next records as one chunk; a crash leaves the rows of some pairs unwritten."""
        begin, end = self.position, min(self.position + count, len(self.log))
        # One append time is one batch of the producer, and a broker gives batches whole.
        while 0 < end < len(self.log) and self.log[end].appended_ms == self.log[end - 1].appended_ms:
            end += 1
        touched: dict[str, list[tuple[int, Entry]]] = {}
        for at in range(begin, end):
            touched.setdefault(self.log[at].pair, []).append((at, self.log[at]))
        outputs = {pair: self._fold(self.pairs[pair], entries, end) for pair, entries in touched.items()}
        for pair, output in outputs.items():
            if pair not in unwritten:
                self.pairs[pair].write(output)
        self.position = end
        if unwritten:
            self.crash()

    def _fold(self, one: OnePair, entries: Sequence[tuple[int, Entry]], end: int) -> FoldOutput:
        expected: dict[str, list[Trade]] = {fate: [] for fate in (TAKEN, DUPLICATE, LATE, FUTURE)}
        before_ms, before_as_of_ms = one.line.frontier_ms, one.fold.state.as_of_ms
        # The stage folds envelopes of one append time in one call.
        calls: dict[int, list[Trade]] = {}
        for at, entry in entries:
            again = at < one.reached
            calls.setdefault(entry.appended_ms, []).extend(entry.trades)
            for trade, fate in zip(entry.trades, entry.fates, strict=True):
                expected[DUPLICATE if again and fate == TAKEN else fate].append(trade)
            if not again:
                one.note(entry)
        one.reached = max(one.reached, end)
        for appended_ms, trades in calls.items():
            limit_ms = appended_ms + MACHINE_RULES.future_tolerance_ms
            one.fold.apply(trades, limit_ms * 1_000_000, appended_ms)
        output = one.fold.settle()
        assert one.fold.state.as_of_ms == max(before_as_of_ms, *calls)
        assert (output.applied, output.duplicates) == (len(expected[TAKEN]), len(expected[DUPLICATE]))
        assert [late.trade for late in output.late] == expected[LATE]
        assert output.refused == [(trade, FUTURE) for trade in expected[FUTURE]]
        # The row is written again even when nothing is new: the changelog may lack its last one.
        assert output.row is not None or not (expected[TAKEN] or expected[DUPLICATE])
        one.publish(output)
        watermark_ms = one.folded.newest_ms - MACHINE_RULES.lateness_ms
        assert one.line.frontier_ms == max(before_ms, self._closed_until(one, watermark_ms))
        one.assert_ids()
        # What no trade can change has left: of minutes, all but those of the 5 minutes around the edge.
        edge_ms = watermark_ms - MACHINE_RULES.retention_ms
        assert output.row is None or min(one.fold.state.windows["1m"]) > edge_ms - 5 * MINUTE_MS
        return output

    @staticmethod
    def _closed_until(one: OnePair, until_ms: int) -> int:
        """Give the end of the last minute that ends at `until_ms` or before; -1 where no trade is as old."""
        end_ms = until_ms - until_ms % MINUTE_MS
        return end_ms if one.folded.last_before(end_ms) else -1

    def tick(self, skew_ms: int, *, feed_alive: bool, unwritten: Collection[str] = ()) -> None:
        """Close by a clock, right or wrong; only a partition that is read to its end gets ticks."""
        assert self.position == len(self.log)
        now_ms = self.now_ms + skew_ms
        self.latest_ms = max(self.latest_ms, now_ms)
        for pair, one in self.pairs.items():
            before_ms, newest_ms = one.line.frontier_ms, one.folded.newest_ms
            output = one.fold.settle(now_ms, feed_alive=feed_alive)
            one.publish(output)
            assert (output.applied, output.duplicates, output.late, output.refused) == (0, 0, [], [])
            if newest_ms >= 0:
                self._assert_clock(one, before_ms, now_ms, feed_alive=feed_alive)
            if pair not in unwritten:
                one.write(output)
        if unwritten:
            self.crash()

    @staticmethod
    def _assert_clock(one: OnePair, before_ms: int, now_ms: int, *, feed_alive: bool) -> None:
        """The minute of the newest trade closes with its end; beyond it only the silence of a living feed is filled."""
        traded_ms = one.folded.newest_ms - one.folded.newest_ms % MINUTE_MS
        frontier_ms, due_ms = one.line.frontier_ms, now_ms - MACHINE_RULES.lateness_ms
        if SOURCES[one.pair] == "replay" or now_ms - one.folded.newest_ms > MACHINE_RULES.synthetic_gap_max_ms:
            assert frontier_ms == max(before_ms, traded_ms + MINUTE_MS)
            return
        filled_ms = traded_ms + (MACHINE_RULES.idle_fill_max_ms if feed_alive else MINUTE_MS)
        highest_ms = min(due_ms - due_ms % MINUTE_MS, max(filled_ms, traded_ms + MINUTE_MS))
        lowest_ms = traded_ms + MINUTE_MS if due_ms >= traded_ms + MINUTE_MS else before_ms
        assert max(before_ms, lowest_ms) <= frontier_ms <= max(before_ms, highest_ms), (
            one.pair,
            before_ms,
            traded_ms,
            frontier_ms,
            now_ms,
        )

    def crash(self) -> None:
        """Lose the process: what is in the table stays, and the log is read again from the commit."""
        for one in self.pairs.values():
            one.fall_back(len(one.saved) - 1, self.log)
        self.position = self.committed

    def lose_folder(self, rows: dict[str, int]) -> None:
        """Lose process and folder; the changelog has rows at least as new as the commit, of each pair another."""
        for pair, one in self.pairs.items():
            one.fall_back(rows[pair] % len(one.saved), self.log)
        self.position = self.committed

    def commit(self) -> None:
        """Commit what is done: the changelog has its rows."""
        self.committed = self.position
        for one in self.pairs.values():
            del one.saved[:-1]
