"""The SQL of RisingWave as sqlglot reads it, and the options that its documentation knows."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
import sqlglot
from pydantic import SecretStr
from sqlglot import exp

from redpanda import topics
from redpanda.errors import ConfigError
from redpanda.settings import BrokerSettings
from tables import records
from tables.clickhouse import migrate
from tables.clickhouse.settings import StoreSettings
from tables.risingwave.script import Piece, pieces, quoted, values
from tables.risingwave.settings import RisingWaveSettings

# From RisingWave's documentation (docs.risingwave.com/ingestion/sources/kafka-config, /integrations/destinations/
# apache-kafka and /clickhouse) and from the lists that its build writes: risingwavelabs/risingwave,
# src/connector/with_options_source.yaml (KafkaProperties) and with_options_sink.yaml (KafkaConfig, ClickHouseConfig).
# Only what is of use here; `r#type` there is `type`.
KAFKA_SOURCE = {
    *("connector", "topic", "properties.bootstrap.server", "scan.startup.mode", "scan.startup.timestamp.millis"),
    *("group.id.prefix", "properties.security.protocol", "properties.sasl.mechanism", "properties.sasl.username"),
    *("properties.sasl.password", "properties.ssl.ca.location"),
}
KAFKA_SINK = {
    *("connector", "topic", "properties.bootstrap.server", "primary_key", "properties.allow.auto.create.topics"),
    *("properties.security.protocol", "properties.sasl.mechanism", "properties.sasl.username"),
    *("properties.sasl.password", "properties.ssl.ca.location", "properties.enable.idempotence"),
    *("properties.compression.codec", "properties.message.timeout.ms"),
}
CLICKHOUSE_SINK = {
    *("connector", "type", "force_append_only", "primary_key", "commit_checkpoint_interval"),
    *("clickhouse.url", "clickhouse.user", "clickhouse.password", "clickhouse.database", "clickhouse.table"),
    "clickhouse.delete.column",
}
OPAQUE: set[str] = set()
"""Statements that sqlglot may give up on. None needs it today."""
STRUCTS: dict[str, Any] = {
    "candles_log": records.Candle,
    "features_log": records.Features,
    "forecasts_log": records.Forecast,
    "forecast_errors_log": records.ForecastError,
    "trades_log": records.Trade,
    "late_trades_log": records.LateTrade,
    "holes_log": records.Hole,
}
TYPES = {
    str: "VARCHAR",
    int: ("BIGINT", "INT"),
    float: "DOUBLE",
    bool: "BOOLEAN",
    dict: "JSONB",
    tuple: "ARRAY<BOOLEAN>",
}

ALL = pieces(
    values(
        RisingWaveSettings(risingwave_clickhouse_url="http://store:8123"),
        BrokerSettings(broker_url="broker:9092"),
        StoreSettings(),
    )
)
BY_NAME = {piece.name: piece for piece in ALL}
each = pytest.mark.parametrize("piece", ALL, ids=lambda piece: piece.name)


def parsed(piece: Piece) -> exp.Expr:
    found = sqlglot.parse(piece.sql, dialect="risingwave")
    assert len(found) == 1
    assert found[0] is not None
    return found[0]


def options(piece: Piece) -> dict[str, str]:
    """Keys and values of WITH."""
    inside = re.search(r"\nWITH \((.*?)\n\)", piece.sql, re.DOTALL)
    return dict(re.findall(r"^\s*([\w.]+) = '([^']*)'", inside[1], re.MULTILINE)) if inside else {}


@each
def test_every_statement_is_understood(piece: Piece) -> None:
    tree = parsed(piece)
    assert isinstance(tree, exp.Create) or piece.name in OPAQUE
    assert tree.args["kind"] in {"SOURCE", "VIEW", "SINK"}


def test_garbage_and_unknown_clauses_would_be_found() -> None:
    for wrong in ("SELEC a FROM b", ALL[0].sql.replace("INCLUDE offset", "INCLOUD offset")):
        with pytest.raises((AssertionError, sqlglot.ParseError)):
            assert isinstance(sqlglot.parse_one(wrong, dialect="risingwave"), exp.Create)


@each
def test_what_a_statement_reads_is_what_we_take_it_to_read(piece: Piece) -> None:
    tables = {table.name for table in parsed(piece).find_all(exp.Table)}
    # The first argument of a window function is a table, which sqlglot takes for a column.
    tables |= set(re.findall(r"(?:HOP|TUMBLE)\((\w+)", piece.sql))
    aliases = {alias.name for alias in parsed(piece).find_all(exp.TableAlias)}
    assert set(piece.needs) == (tables - {piece.name} - aliases) & BY_NAME.keys()
    assert bool(piece.needs) == (piece.kind != "SOURCE")


@each
def test_options_are_those_of_the_documentation(piece: Piece) -> None:
    found = options(piece)
    known = {
        "SOURCE": KAFKA_SOURCE,
        "SINK": CLICKHOUSE_SINK if found.get("connector") == "clickhouse" else KAFKA_SINK,
        "MATERIALIZED VIEW": set[str](),
    }[piece.kind]
    assert found.keys() <= known
    # Nothing of WITH escaped the pattern that reads it.
    inside = re.search(r"\nWITH \((.*?)\n\)", piece.sql, re.DOTALL)
    assert len(found) == (inside[1].count("=") if inside else 0)
    if piece.kind != "MATERIALIZED VIEW":
        assert {"connector"} < found.keys()


def test_topics_of_sources_and_sinks_are_declared() -> None:
    found = {options(piece)["topic"] for piece in ALL if "topic" in options(piece)}
    assert found == {
        *(topics.CANDLES, topics.FEATURES, topics.FORECASTS, topics.FORECAST_ERRORS, topics.TRADES),
        *(topics.TRADES_LATE, topics.HOLES, topics.MARKET_STATS),
    }
    assert found < {spec.name for spec in topics.TOPICS}


@pytest.mark.parametrize("name", STRUCTS)
def test_columns_of_a_source_are_fields_of_its_record(name: str) -> None:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(STRUCTS[name])}
    columns = {column.name: column.args["kind"].sql() for column in parsed(BY_NAME[name]).find_all(exp.ColumnDef)}
    assert columns.keys() <= fields.keys()
    for column, kind in columns.items():
        made_of = getattr(fields[column], "__origin__", fields[column])
        expected = TYPES.get(made_of, "VARCHAR" if column != "trade" else "JSONB")
        assert kind.startswith(expected), (column, kind)


def test_clickhouse_table_has_the_columns_of_the_view_in_order() -> None:
    """The connector writes by position, and a NULL needs a Nullable column."""
    sql = next(one.sql for one in migrate.migrations() if one.name == "market_rolling")
    table = re.findall(r"^    (\w+) +((?:Nullable|LowCardinality|DateTime64)\([^)]*\)|\w+)", sql, re.MULTILINE)
    select = parsed(BY_NAME["market_rolling"]).find(exp.Select)
    assert select is not None
    assert [name for name, _ in table] == select.named_selects
    assert {name for name, kind in table if kind.startswith("Nullable")} == {
        *("return_1h", "return_24h", "volatility_1h", "volatility_24h"),
    }


def test_settings_are_written_as_strings_and_passwords_are_not_shown() -> None:
    settings = RisingWaveSettings(
        risingwave_clickhouse_url="http://store:8123",
        risingwave_clickhouse_user="o'neill",
        risingwave_clickhouse_password=SecretStr("it's ${broker} secret"),
    )
    sink = pieces(values(settings, BrokerSettings(), StoreSettings()))[-1]
    assert "clickhouse.user = 'o''neill'" in sink.sql
    assert "clickhouse.password = 'it''s ${broker} secret'" in sink.sql
    assert "secret" not in sink.shown
    assert "clickhouse.password = '***'" in sink.shown
    with pytest.raises(ConfigError, match="control character"):
        quoted("a\nb")


def test_without_a_clickhouse_server_its_sink_is_left_out() -> None:
    found = pieces(values(RisingWaveSettings(), BrokerSettings(broker_url="a:1,b:2"), StoreSettings()))
    assert [piece.name for piece in found] == [piece.name for piece in ALL][:-1]
    assert "properties.bootstrap.server = 'a:1,b:2'" in found[0].sql


def test_a_comment_changes_nothing_and_a_setting_does() -> None:
    text = "CREATE SOURCE IF NOT EXISTS a (b INT) WITH (c = ${broker})"
    (first,), (other,), (third,) = (
        pieces({"broker": "x:1"}, [text]),
        pieces({"broker": "x:1"}, [f"-- why\n{text.replace(' WITH', '  WITH')};"]),
        pieces({"broker": "y:1"}, [text]),
    )
    assert first.checksum == other.checksum != third.checksum
    with pytest.raises(ConfigError, match="not one new source"):
        pieces({}, ["DROP TABLE a"])
    with pytest.raises(ConfigError, match="not one new source"):
        pieces({"broker": "x:1"}, [f"{text};{text}"])
