"""`tickcast rebuild`: let the workers compute candles and features from `trades` again.

The command folds nothing itself. It sets the group back in `trades`, and puts rows into the changelogs that make the
workers begin anew: a pair's candles from an empty row, its features from the history before. So what comes out is
what the workers' own folds make, and no folder on any machine needs to be touched. The order makes a half-done rebuild
harmless: with the group set back and rows as they were, all trades are repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from agents.changelogs import Tally, mark_key, rows_header
from app.rebuild_plan import PairPlan, Plan, Tell
from redpanda.admin import connect
from redpanda.clients import producer, reaching
from redpanda.errors import TickcastError
from redpanda.groups import member_count
from redpanda.scan import scan
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLE_STATE, CANDLES, FEATURE_STATE, GROUP, TRADES, changelog
from tables.candles import CandleRules
from tables.candles.state import PairState, state_key
from tables.features.fold import PairFeatures, features_key, refusal
from tables.records import DAY_MS, TIMEFRAME_MS, TIMEFRAMES, Candle

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["History", "apply_plan", "history_of_log", "history_of_store"]

History = Callable[[PairPlan, str], Iterable[Candle]]
"""Gives the closed candles of a pair and timeframe before `from_ms`, in order of time."""
PAGE: Final = 50_000
SENT_WITHIN_S: Final = 60.0


class _Row(NamedTuple):
    table: str
    partition: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes] = {}


def history_of_log(broker: BrokerSettings, plan: Plan, tell: Tell) -> History:
    """Take the candles before the rebuild from topic `candles`, of each the version that counts."""
    from_ms = {one.pair: one.from_ms for one in plan.pairs if one.from_ms}
    decode = msgspec.json.Decoder(Candle).decode
    found: dict[tuple[str, str], dict[int, Candle]] = {}

    def take(_: int, records: Iterable[Any]) -> None:
        for record in records:
            if (record.key or b"").decode("utf-8", "replace") not in from_ms:
                continue
            try:
                candle = decode(record.value)
            except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
                continue  # no candle of ours
            if not candle.closed or refusal(candle) or candle.open_ms >= from_ms.get(candle.pair, 0):
                continue
            versions = found.setdefault((candle.pair, candle.timeframe), {})
            known = versions.get(candle.open_ms)
            if known is None or candle.as_of_ms >= known.as_of_ms:
                versions[candle.open_ms] = candle

    if from_ms:
        partitions = {one.partition for one in plan.pairs if one.from_ms}
        scan(broker, CANDLES, partitions, take, lambda done, total: tell("candles", done, total))

    def read(one: PairPlan, timeframe: str) -> Iterator[Candle]:
        candles = found.get((one.pair, timeframe), {})
        return (candles[open_ms] for open_ms in sorted(candles))

    return read


def history_of_store(store: Client) -> History:
    """Take the candles before the rebuild from ClickHouse."""
    from tables.clickhouse import queries

    first_ms = {info.pair: info.first_ms for info in queries.pairs(store)}

    def read(one: PairPlan, timeframe: str) -> Iterator[Candle]:
        step_ms = TIMEFRAME_MS[timeframe]  # type: ignore[index]  # one of the six
        start_ms = first_ms.get(one.pair, one.from_ms)
        for from_ms in range(start_ms - start_ms % step_ms, one.from_ms, PAGE * step_ms):
            to_ms = min(from_ms + PAGE * step_ms, one.from_ms)
            page = queries.candles(store, one.pair, timeframe, from_ms, to_ms, PAGE)
            yield from (candle for candle in reversed(page) if candle.closed)

    return read


def apply_plan(
    broker: BrokerSettings, rules: CandleRules, plan: Plan, history: History, store: Client | None, tell: Tell
) -> None:
    """Set the group back, put the rows into the changelogs, and delete what the store holds of the time.

    Raises
    ------
    TickcastError
        A worker has started meanwhile. Doing it again is safe.
    UnreachableError
        Broker or store do not answer. Doing it again is safe.

    """
    counts = {table: _tallies(broker, table, plan.partitions, tell) for table in (CANDLE_STATE, FEATURE_STATE)}
    rows = list(_rows(rules, plan, history, tell))
    for row in rows:
        counts[row.table][row.partition].keys.add(row.key)
    _set_back(broker, plan)
    _send(broker, rows)
    if plan.complete:
        _send(broker, _marks(plan, counts))  # of a rebuild that was broken off there is none
    if member_count(broker, GROUP):
        raise TickcastError("a worker has started during the rebuild: stop all workers and do it again")
    if store is not None:
        for at, pair in enumerate(plan.pairs):
            tell("old rows", at, len(plan.pairs))
            _delete(store, pair)


def _tallies(broker: BrokerSettings, table: str, partitions: int, tell: Tell) -> dict[int, Tally]:
    """Count what the changelog of a table has, by partition: rows of pairs without trades in the log stay."""
    found = {partition: Tally(partition) for partition in range(partitions)}

    def take(partition: int, records: Sequence[Any]) -> None:
        found[partition].take(records)

    scan(broker, changelog(table), range(partitions), take, lambda done, total: tell(table, done, total))
    return found


def _send(broker: BrokerSettings, rows: Iterable[_Row]) -> None:
    """Put rows into the changelogs and wait until the broker has them all."""
    with reaching(broker), producer(broker, compression_type="lz4", max_block_ms=60_000) as writer:
        sent = [
            writer.send(
                changelog(row.table),
                key=row.key,
                value=row.value,
                partition=row.partition,
                headers=list(row.headers.items()),
            )
            for row in rows
        ]
        writer.flush()
        for one in sent:
            one.get(SENT_WITHIN_S)


def _set_back(broker: BrokerSettings, plan: Plan) -> None:
    wanted = {TopicPartition(TRADES, partition): offset for partition, offset in plan.offsets.items()}
    wanted |= {TopicPartition(CANDLES, partition): offset for partition, offset in plan.skips.items()}
    with connect(broker) as admin, reaching(broker):
        offsets = {place: OffsetAndMetadata(offset, "", -1) for place, offset in wanted.items()}
        answers = admin.alter_group_offsets(GROUP, offsets)
    refused = {place: answer for place, answer in answers.items() if getattr(answer, "errno", 0)}
    if refused:
        place, answer = next(iter(refused.items()))
        raise TickcastError(
            f"the broker does not set group {GROUP} back in {place.topic} partition {place.partition} "
            f"({answer.__name__}): stop all workers and do it again"
        )


def _rows(rules: CandleRules, plan: Plan, history: History, tell: Tell) -> Iterator[_Row]:
    """Give the rows with which the workers begin anew."""
    revisable_ms = rules.retention_ms + rules.lateness_ms
    for at, one in enumerate(plan.pairs):
        state = PairState()
        state.publish_from_ms, state.as_of_ms = one.from_ms, plan.as_of_ms
        yield _Row(CANDLE_STATE, one.partition, state_key(one.pair), state.pack())
        for number, timeframe in enumerate(TIMEFRAMES):
            tell("rows", at * len(TIMEFRAMES) + number, len(plan.pairs) * len(TIMEFRAMES))
            fold = PairFeatures(one.pair, timeframe, revisable_ms, lambda _: None)
            for candle in history(one, timeframe) if one.from_ms else ():
                fold.apply(candle)
            yield _Row(FEATURE_STATE, one.partition, features_key(one.pair, timeframe), fold.pack())


def _marks(plan: Plan, counts: Mapping[str, Mapping[int, Tally]]) -> Iterator[_Row]:
    """Give what makes the changelogs whole from here on, whatever their heads have lost."""
    value = b'{"as_of_ms": %d}' % plan.as_of_ms
    for table, tallies in counts.items():
        for partition, tally in tallies.items():
            yield _Row(table, partition, mark_key(partition), value, rows_header(len(tally.keys)))


def _delete(store: Client, one: PairPlan) -> None:
    """Delete what will be written again: a row that the trades do not give would stay for ever."""
    from tables.clickhouse.client import store_errors

    # Without a day to begin with, the log has all trades, and the store nothing that is much older.
    from_ms = one.from_ms or one.first_ms - DAY_MS
    for table in ("candles", "features"):
        with store_errors(f"deleting {table} of {one.pair}"):
            store.command(
                f"ALTER TABLE {table} DELETE WHERE pair = {{pair:String}} AND "
                "open_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') SETTINGS mutations_sync = 2",
                parameters={"pair": one.pair, "from_ms": from_ms},
            )
