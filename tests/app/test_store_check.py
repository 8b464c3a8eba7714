"""`tickcast store verify --topics`: what a topic told and a sink committed is looked for row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from typer.testing import CliRunner

from app.cli import cli
from app.store_check import SINKS, Checked, check, newest
from redpanda.admin import apply, connect
from redpanda.errors import ConfigError
from redpanda.settings import BrokerSettings
from redpanda.topics import ALERTS, CANDLES, DEAD_LETTERS, FORECASTS, GROUP, HOLES, MODELS, TRADES_LATE
from tables.clickhouse import rows
from tables.clickhouse.columns import TABLES
from tables.clickhouse.settings import StoreSettings
from tables.records import Alert
from tests.support.samples import START_MS, candle, dead_letter, forecast, hole, in_service, late_trade
from tests.support.store import StoreProcess, store, store_client, store_database, store_settings
from tests.support.worker import own_broker

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["own_broker", "store", "store_client", "store_database", "store_settings"]


def an_alert(*, raised: bool) -> Alert:
    return Alert("BTC/USD", "coverage", 300, raised, 0.8, 0.87, "too narrow", START_MS)


ALL: dict[str, Sequence[Any]] = {
    CANDLES: [
        *(candle(at, as_of_ms=5) for at in range(50)),
        candle(3, as_of_ms=9, revision=1),
        candle(1, timeframe="5m"),
    ],
    TRADES_LATE: [late_trade(at) for at in (1, 2, 2, 3)],
    MODELS: [in_service("3"), in_service("0", data_to_ms=None, expires_at_ms=None)],
    DEAD_LETTERS: [dead_letter(), dead_letter(offset=78), dead_letter(at_ms=START_MS + 1), dead_letter(offset=-1)],
    FORECASTS: [forecast(0), forecast(0, revision=1)],
    ALERTS: [an_alert(raised=True), an_alert(raised=False), an_alert(raised=True)],
    HOLES: [hole(100), hole(100, "repaired", at_ms=START_MS + 5), hole(200)],
}
INSERTS: dict[str, Any] = {
    CANDLES: rows.insert_candles,
    TRADES_LATE: rows.insert_late_trades,
    MODELS: rows.insert_models,
    DEAD_LETTERS: rows.insert_dead_letters,
    FORECASTS: rows.insert_forecasts,
    ALERTS: rows.insert_alerts,
    HOLES: rows.insert_holes,
}


def publish(broker: BrokerSettings, topic: str, said: Sequence[Any], commit: int) -> None:
    """Put records into partition 0; the group has committed so many of them."""
    with connect(broker) as admin:
        apply(admin, broker)
    producer = KafkaProducer(bootstrap_servers=broker.broker_url)
    for record in said:
        producer.send(topic, msgspec.json.encode(record), partition=0)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=broker.broker_url, group_id=GROUP, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(commit, "", -1)})
    consumer.close()


def found(client: Client, settings: StoreSettings, broker: BrokerSettings) -> dict[str, Checked]:
    return {one.topic: one for one in check(client, settings, broker, lambda *_: None)}


def test_every_sink_is_looked_at() -> None:
    assert {sink.table for sink in SINKS} == set(TABLES) - {"trades"}, "trades are stored on wish only"


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3))))
def test_of_one_key_the_greatest_version_counts(pairs: list[tuple[int, int]]) -> None:
    columns = [np.array([one[at] for one in pairs], np.int64) for at in (0, 1)]
    keys, versions, times_ms = newest(columns[0], columns[1], 10 * columns[1])
    assert list(zip(keys.tolist(), versions.tolist(), strict=True)) == list(dict(sorted(pairs)).items())
    assert times_ms.tolist() == (10 * versions).tolist()


@pytest.mark.component
def test_rows_that_are_gone_or_older_than_told_are_found(
    own_broker: BrokerSettings, store_client: Client, store_settings: StoreSettings
) -> None:
    for topic, said in ALL.items():
        publish(own_broker, topic, said, len(said))
        INSERTS[topic](store_client, said, topic)
    whole = found(store_client, store_settings, own_broker)
    assert all(one.is_whole for one in whole.values())
    assert {topic: (one.records, one.rows) for topic, one in whole.items() if one.records} == {
        CANDLES: (52, 51),
        TRADES_LATE: (4, 3),
        MODELS: (2, 2),
        DEAD_LETTERS: (4, 4),
        FORECASTS: (2, 2),
        ALERTS: (3, 2),
        HOLES: (3, 2),
    }
    store_client.command("DELETE FROM late_trades WHERE trade_id = 2")
    store_client.command(
        "DELETE FROM candles WHERE revision = 1 OR open_time = fromUnixTimestamp64Milli({at:Int64})",
        {"at": candle(40).open_ms},
    )
    rows.insert_candles(store_client, [candle(3, as_of_ms=5)], "before")
    broken = found(store_client, store_settings, own_broker)
    assert (broken[TRADES_LATE].missing, broken[TRADES_LATE].example) == (1, "BTC/USD sim trade_id 2")
    assert (broken[CANDLES].missing, broken[CANDLES].older) == (1, 1)
    assert broken[CANDLES].example == f"BTC/USD 1m open_time {candle(3).open_ms}"
    assert broken[MODELS].is_whole


@pytest.mark.component
@pytest.mark.parametrize(
    ("topic", "gone", "example"),
    [
        (DEAD_LETTERS, "DELETE FROM dead_letters WHERE offset = 78", f"trades 2 BTC/USD at {START_MS}"),
        (DEAD_LETTERS, "DELETE FROM dead_letters WHERE offset = -1", f"trades 2 BTC/USD at {START_MS}"),
        (FORECASTS, "DELETE FROM forecasts WHERE revision = 0", "BTC/USD 60 ewma 0 feature_open"),
        (ALERTS, "DELETE FROM alerts WHERE NOT raised", f"BTC/USD coverage 300 False at {START_MS}"),
        (HOLES, "DELETE FROM holes WHERE first_id = 200", "BTC/USD first_id 200"),
    ],
)
def test_a_row_is_missed_though_another_differs_in_one_column_of_the_key_alone(
    own_broker: BrokerSettings, store_client: Client, store_settings: StoreSettings, topic: str, gone: str, example: str
) -> None:
    publish(own_broker, topic, ALL[topic], len(ALL[topic]))
    INSERTS[topic](store_client, ALL[topic], topic)
    assert found(store_client, store_settings, own_broker)[topic].is_whole
    store_client.command(gone)
    broken = found(store_client, store_settings, own_broker)[topic]
    assert (broken.missing, broken.older) == (1, 0)
    assert example in broken.example


@pytest.mark.component
def test_what_is_not_committed_is_not_asked_for_and_what_expired_neither(
    own_broker: BrokerSettings, store_client: Client, store_settings: StoreSettings
) -> None:
    publish(own_broker, CANDLES, [candle(at) for at in range(10)], commit=4)
    few = own_broker.model_copy(update={"partitions": 2})
    short = found(store_client, store_settings, few)[CANDLES]
    assert (short.records, short.waiting, short.missing) == (4, 6, 4)
    lives = store_settings.model_copy(update={"store_ttl_days_candles": 30})
    expired = found(store_client, lives, own_broker)[CANDLES]
    assert (expired.missing, expired.expired, expired.rows) == (0, 4, 0)
    publish(own_broker, TRADES_LATE, [late_trade()], commit=1)
    publish(own_broker, HOLES, [hole()], commit=1)
    assert found(store_client, lives, own_broker)[TRADES_LATE].missing == 1
    lives = store_settings.model_copy(update={"store_ttl_days_late_trades": 7, "store_ttl_days_holes": 7})
    expired_by_topic = found(store_client, lives, own_broker)
    assert [(expired_by_topic[topic].missing, expired_by_topic[topic].expired) for topic in (TRADES_LATE, HOLES)] == [
        (0, 1),
        (0, 1),
    ]


@pytest.mark.component
def test_too_few_partitions_in_the_settings_are_told_and_bad_records_passed_over(
    own_broker: BrokerSettings, store_client: Client, store_settings: StoreSettings
) -> None:
    with connect(own_broker) as admin:
        apply(admin, own_broker)
    producer = KafkaProducer(bootstrap_servers=own_broker.broker_url)
    large = msgspec.json.encode(candle(0)).replace(b'"as_of_ms":0', b'"as_of_ms":' + b"9" * 30)
    for value in (b'{"pair":"\xff"}', b"{", large):
        producer.send(CANDLES, value, partition=3)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=own_broker.broker_url, group_id=GROUP, enable_auto_commit=False)
    consumer.assign([TopicPartition(CANDLES, 3)])
    consumer.commit({TopicPartition(CANDLES, 3): OffsetAndMetadata(3, "", -1)})
    consumer.close()
    assert large.count(b"9" * 30) == 1
    whole = found(store_client, store_settings, own_broker)[CANDLES]
    assert (whole.records, whole.rows, whole.missing) == (3, 0, 0)
    with pytest.raises(ConfigError, match="has partition 3, and TICKCAST_PARTITIONS is 2"):
        found(store_client, store_settings, own_broker.model_copy(update={"partitions": 2}))


@pytest.mark.component
def test_the_command_says_what_is_missing_and_ends_with_an_error(
    own_broker: BrokerSettings,
    store: StoreProcess,
    store_client: Client,
    store_database: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in {
        "TICKCAST_HOME": tmp_path,
        "TICKCAST_BROKER_URL": own_broker.broker_url,
        "TICKCAST_CLICKHOUSE_URL": f"local://{store.folder}",
        "TICKCAST_CLICKHOUSE_DATABASE": store_database,
    }.items():
        monkeypatch.setenv(name, str(value))
    said = [candle(at) for at in range(10)]
    publish(own_broker, CANDLES, said, commit=10)
    rows.insert_candles(store_client, said[:9], "a")
    broken = CliRunner().invoke(cli, ["store", "verify", "--topics"])
    assert broken.exit_code == 1
    assert "candles: 1 missing, 0 in an older version" in broken.output
    rows.insert_candles(store_client, said[9:], "b")
    whole = CliRunner().invoke(cli, ["store", "verify", "--topics"])
    assert whole.exit_code == 0, whole.output
    assert "the store has every row that the sinks have committed" in whole.output
