"""Where the latest features come from, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import psycopg
import pytest

from redpanda import admin
from redpanda.errors import BadInputError, UnreachableError
from redpanda.settings import BrokerSettings
from redpanda.topics import FEATURES, TOPICS
from tables.clickhouse import rows
from tables.records import MINUTE_MS, Features
from tables.risingwave.script import pieces
from tables.risingwave.settings import RisingWaveSettings
from tables.serving.latest import Miss, read_latest
from tables.serving.places import BrokerPlace, RisingWavePlace, StorePlace, newest_of
from tests.support.risingwave import to_postgres
from tests.support.samples import START_MS, features
from tests.support.served import publish

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client
    from kafka import KafkaAdminClient

NOW_MS = START_MS + 10 * MINUTE_MS


class Fixed:
    """A place that says what it is told to."""

    def __init__(self, name: str, answer: Features | Exception | None) -> None:
        self.name = name
        self._answer = answer

    def latest(self, pair: str, timeframe: str) -> Features | None:
        assert (pair, timeframe) == ("BTC/USD", "1m")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_first_fresh_place_answers_and_says_who_did_not() -> None:
    places = (
        Fixed("broker", UnreachableError("no broker")),
        Fixed("clickhouse", features(3)),
        Fixed("risingwave", features(9)),
    )
    answer = read_latest(places, "BTC/USD", "1m", NOW_MS)
    assert (answer.place, answer.age_ms, answer.fresh) == ("risingwave", 0, True)
    assert answer.missed == (
        Miss("broker", "no broker"),
        Miss("clickhouse", "its newest bar closed 360 s ago"),
    )
    assert read_latest(places, "BTC/USD", "1m", NOW_MS, max_age_ms=360_000).place == "clickhouse"
    assert read_latest(places, "BTC/USD", "1m", NOW_MS, max_age_ms=359_999).place == "risingwave"


def test_where_all_are_stale_the_newest_is_given_and_told_as_stale() -> None:
    corrected = msgspec.structs.replace(features(4), as_of_ms=7)
    places = (Fixed("broker", features(4)), Fixed("clickhouse", None), Fixed("risingwave", corrected))
    answer = read_latest(places, "BTC/USD", "1m", NOW_MS)
    assert (answer.place, answer.fresh, answer.features) == ("risingwave", False, corrected)
    assert [miss.place for miss in answer.missed] == ["broker", "clickhouse"]
    assert read_latest((Fixed("a", features(4)), Fixed("b", features(4))), "BTC/USD", "1m", NOW_MS).place == "a"


def test_no_row_is_an_error_that_tells_of_every_place() -> None:
    with pytest.raises(BadInputError, match="broker: has no row; clickhouse: has no row"):
        read_latest((Fixed("broker", None), Fixed("clickhouse", None)), "BTC/USD", "1m", NOW_MS)
    with pytest.raises(UnreachableError, match="broker: has no row; clickhouse: down"):
        read_latest((Fixed("broker", None), Fixed("clickhouse", UnreachableError("down"))), "BTC/USD", "1m", NOW_MS)
    with pytest.raises(BadInputError, match="timeframe '2m' is unknown"):
        read_latest((), "BTC/USD", "2m", NOW_MS)


def test_of_rows_that_account_for_the_same_trades_the_later_counts() -> None:
    first, second = features(1, 0.1, as_of_ms=5), features(1, 0.2, as_of_ms=5)
    assert newest_of([first, second, features(1, 0.3, as_of_ms=4)]) == {first.open_ms: second}


@pytest.mark.component
def test_end_of_the_topic_gives_the_newest_row_whatever_comes_after_it(
    broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    admin.apply(broker_admin, broker_settings, topics=[spec for spec in TOPICS if spec.name == FEATURES])
    pair = "TAIL/USD"
    newest = features(9, 0.5, pair=pair, as_of_ms=20)
    said = [
        *(features(at, pair=pair) for at in range(9)),
        features(9, pair=pair, as_of_ms=10),
        newest,
        features(9, 0.7, pair=pair, as_of_ms=10),  # a worker that lost its partition
        features(7, pair=pair, as_of_ms=30),  # a restarted one says an older bar again
        features(30, pair="AXIL/USD"),
        features(1, pair=pair, timeframe="1h"),
    ]
    publish(broker_settings, said)
    place = BrokerPlace(broker_settings)
    assert place.latest(pair, "1m") == newest
    assert place.latest(pair, "1h") == said[-1]
    assert place.latest(pair, "1d") is None
    assert place.latest("NONE/USD", "1m") is None


@pytest.mark.component
def test_store_and_risingwave_give_the_same_row_and_a_dead_broker_is_passed_over(
    store_client: Client, postgres_database: str
) -> None:
    written = [features(at, 0.1 * at, as_of_ms=at) for at in range(10)]
    corrected = msgspec.structs.replace(
        written[-1], revision=1, as_of_ms=99, values=written[-1].values | {"sma_7": None}
    )
    log = [*written, corrected, written[-1]]
    rows.insert_features(store_client, log, "a")
    with psycopg.connect(postgres_database, autocommit=True) as database:
        for piece in pieces({"broker": "b:1", "history": "8 days"}):
            if piece.name in {"features_log", "features_latest"}:
                database.execute(to_postgres(piece))
            if piece.name == "features_log":
                records = [msgspec.to_builtins(row) | {"log_offset": str(at)} for at, row in enumerate(log)]
                database.execute(
                    "INSERT INTO features_log SELECT * FROM json_populate_recordset(NULL::features_log, %s::json)",
                    [msgspec.json.encode(records).decode()],
                )
    stored = StorePlace(lambda: store_client)
    rising = RisingWavePlace(RisingWaveSettings(risingwave_url=postgres_database))
    assert stored.latest("BTC/USD", "1m") == corrected
    assert rising.latest("BTC/USD", "1m") == corrected
    assert stored.latest("BTC/USD", "5m") is rising.latest("BTC/USD", "5m") is None
    dead = BrokerPlace(BrokerSettings(broker_url="127.0.0.1:1"))
    answer = read_latest((dead, rising, stored), "BTC/USD", "1m", NOW_MS)
    assert (answer.place, answer.missed[0].place, answer.features) == ("risingwave", "broker", corrected)
    assert "TICKCAST_BROKER_URL" in answer.missed[0].reason
    unset = RisingWavePlace(RisingWaveSettings())
    assert read_latest((unset, stored), "BTC/USD", "1m", NOW_MS).place == "clickhouse"
