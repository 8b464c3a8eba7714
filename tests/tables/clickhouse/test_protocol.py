"""The documented subset of ClickHouse's HTTP protocol, through unmodified clients."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
from collections.abc import Iterator
from typing import TYPE_CHECKING

import clickhouse_connect
import pytest
import urllib3
from clickhouse_connect.driver.exceptions import DatabaseError

from tables.clickhouse.endpoint import Endpoint, resolve
from tables.clickhouse.local.hello import hello_block
from tables.clickhouse.settings import StoreSettings
from tests.support.store import local_only

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

KAFKA = (
    "CREATE TABLE k (a Int8) ENGINE = Kafka SETTINGS kafka_broker_list = '127.0.0.1:1', "
    "kafka_topic_list = 'a', kafka_group_name = 'b', kafka_format = 'JSONEachRow'"
)
CODINGS = [False, "lz4", "zstd", "gzip"]


@pytest.fixture
def endpoint(store_client: Client, store_settings: StoreSettings) -> Endpoint:
    assert store_client.database == store_settings.clickhouse_database
    return resolve(store_settings)


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager() as manager:
        yield manager


def plain_client(endpoint: Endpoint, compress: bool | str) -> Client:
    return clickhouse_connect.get_client(
        host=endpoint.host,
        port=endpoint.port,
        username=endpoint.user,
        password=endpoint.password,
        database=endpoint.database,
        compress=compress,
        tz_mode="aware",
    )


def ask(http: urllib3.PoolManager, endpoint: Endpoint, sql: str, **headers: str) -> urllib3.BaseHTTPResponse:
    headers.setdefault("X_ClickHouse_Key", endpoint.password)
    return http.request(
        "POST",
        f"http://{endpoint.host}:{endpoint.port}/",
        body=sql,
        headers={name.replace("_", "-"): value for name, value in headers.items() if value},
        decode_content=False,
    )


@pytest.mark.parametrize("compress", CODINGS)
def test_rows_come_back_as_they_went_in_with_every_coding(endpoint: Endpoint, compress: bool | str) -> None:
    rows = [
        [
            index,
            index / 3,
            f"text {index} ''\n",
            dt.datetime(2026, 1, 2, 3, 4, 5, 6000, dt.UTC),
            [f"t{index % 2}"],
        ]
        for index in range(3000)
    ]
    client = plain_client(endpoint, compress)
    client.command(
        "CREATE TABLE t (a UInt64, b Float64, c String, d DateTime64(3, 'UTC'), e Array(LowCardinality(String))) "
        "ENGINE = MergeTree ORDER BY a"
    )
    summary = client.insert("t", rows, column_names=["a", "b", "c", "d", "e"])
    assert summary.written_rows == 3000
    assert [list(row) for row in client.query("SELECT * FROM t ORDER BY a").result_rows] == rows
    client.close()


def test_a_block_of_ten_columns_survives_its_leading_newline_byte(endpoint: Endpoint) -> None:
    client = plain_client(endpoint, compress=False)
    names = [f"c{index}" for index in range(10)]
    client.command(f"CREATE TABLE ten ({', '.join(f'{name} UInt8' for name in names)}) ENGINE = MergeTree ORDER BY c0")
    client.insert("ten", [list(range(10))], column_names=names)
    assert client.query("SELECT * FROM ten").result_rows == [tuple(range(10))]
    client.close()


def test_parameters_are_values_and_never_sql(store_client: Client) -> None:
    nasty = "x'; DROP TABLE candles -- \\ \n\t file('/etc/hostname') " + "long " * 20_000
    row = store_client.query(
        "SELECT {text:String}, {many:Array(Int64)}, {at:DateTime64(3, 'UTC')}",
        parameters={"text": nasty, "many": [1, -2], "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
        tz_mode="aware",
    ).result_rows[0]
    assert row == (nasty, [1, -2], dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def test_settings_hold_for_one_request_only(store_client: Client) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    before = store_client.query(sql).result_rows
    assert store_client.query(sql, settings={"max_block_size": 123}).result_rows == [("123",)]
    assert store_client.query(sql).result_rows == before


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM nowhere", 60),
        ("SELEC 1", 62),
        ("SELECT nothing FROM candles", 47),
        ("SELECT 1; SELECT 2", 62),
    ],
)
def test_errors_carry_the_engine_code(store_client: Client, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError) as caught:
        store_client.query(sql)
    assert caught.value.code == code


def test_output_of_a_failed_query_never_reaches_the_next_one(store_client: Client) -> None:
    with pytest.raises(DatabaseError):
        store_client.query("SELECT number, throwIf(number = 900000) FROM numbers(1000000)")
    assert store_client.query("SELECT 1").result_rows == [(1,)]


@local_only
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM s3('http://bucket.localhost:1/key', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1:1', 'system.one')",
        "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "SELECT * FROM executable('cat', 'TSV', 'a String')",
        "SELECT 1 INTO OUTFILE '/tmp/tickcast-outfile'",
        "INSERT INTO candles FROM INFILE '/etc/hostname' FORMAT TSV",
        KAFKA,
        "CREATE TABLE f (a String) ENGINE = File('TSV')",
        "CREATE TABLE u (a String) ENGINE = URL('http://127.0.0.1:1/', 'TSV')",
        "CREATE DATABASE d ENGINE = SQLite('/tmp/x.db')",
        "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(HTTP(url 'http://x:1/' format 'TSV')) LAYOUT(FLAT())",
        "BACKUP TABLE candles TO File('/tmp/tickcast-backup')",
        "SYSTEM SHUTDOWN",
        "CREATE USER someone",
    ],
)
def test_nothing_reaches_outside_of_the_tables(store_client: Client, sql: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        store_client.command(sql)
    assert caught.value.code in {1, 36, 497}
    assert "hostname" not in str(caught.value).replace("/etc/hostname", "")


@local_only
def test_a_query_may_not_lift_the_memory_limit(store_client: Client) -> None:
    with pytest.raises(DatabaseError) as caught:
        store_client.query("SELECT 1", settings={"max_memory_usage": 100_000_000_000})
    assert caught.value.code == 452


@pytest.mark.parametrize(
    "headers",
    [
        {"X_ClickHouse_Key": ""},
        {"X_ClickHouse_Key": "wrong"},
        {"X_ClickHouse_Key": "", "Authorization": "Basic " + base64.b64encode(b"default:wrong").decode()},
        {"X_ClickHouse_Key": "", "Authorization": "Basic ???"},
    ],
)
def test_without_the_token_there_is_no_answer(
    http: urllib3.PoolManager, endpoint: Endpoint, headers: dict[str, str]
) -> None:
    answer = ask(http, endpoint, "SELECT 1", **headers)
    assert answer.status == 403
    assert answer.headers["X-ClickHouse-Exception-Code"] == "516"


def test_key_header_and_basic_auth_both_open(http: urllib3.PoolManager, endpoint: Endpoint) -> None:
    basic = "Basic " + base64.b64encode(f"anyone:{endpoint.password}".encode()).decode()
    assert ask(http, endpoint, "SELECT 1").data == b"1\n"
    assert ask(http, endpoint, "SELECT 1", X_ClickHouse_Key="", Authorization=basic).data == b"1\n"


def test_ping_needs_no_token(http: urllib3.PoolManager, endpoint: Endpoint) -> None:
    assert http.request("GET", f"http://{endpoint.host}:{endpoint.port}/ping").data == b"Ok.\n"


def test_a_get_request_changes_nothing(http: urllib3.PoolManager, endpoint: Endpoint) -> None:
    answer = http.request(
        "GET",
        f"http://{endpoint.host}:{endpoint.port}/",
        fields={"query": "CREATE DATABASE by_link"},
        headers={"X-ClickHouse-Key": endpoint.password},
    )
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"


@local_only
@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"x" * 130_000_000, "", 413),
        (gzip.compress(bytes(140_000_000), 1), "gzip", 413),
        (b"no gzip at all", "gzip", 400),
        (gzip.compress(b"SELECT 1")[:-4], "gzip", 400),
        (b"SELECT 1", "snappy", 400),
        (b"\xff\xfe", "", 400),
        (b"SELECT 'open", "", 400),
    ],
    ids=["large", "bomb", "not-gzip", "cut", "unknown", "not-utf8", "open-quote"],
)
def test_a_bad_body_is_refused_with_a_reason(
    http: urllib3.PoolManager, endpoint: Endpoint, body: bytes, coding: str, status: int
) -> None:
    answer = http.request(
        "POST",
        f"http://{endpoint.host}:{endpoint.port}/",
        body=body,
        headers={"X-ClickHouse-Key": endpoint.password, **({"Content-Encoding": coding} if coding else {})},
    )
    assert answer.status == status
    assert answer.data.startswith(b"Code: ")


def test_the_asynchronous_client_works_in_parallel(endpoint: Endpoint) -> None:
    async def go() -> list[int]:
        client = await clickhouse_connect.get_async_client(
            host=endpoint.host,
            port=endpoint.port,
            username=endpoint.user,
            password=endpoint.password,
            database=endpoint.database,
            compress="zstd",
            autogenerate_session_id=False,
        )
        await client.command("CREATE TABLE p (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
        await asyncio.gather(
            *(client.insert("p", [[index, "x" * 1000]], column_names=["a", "b"]) for index in range(12))
        )
        found = await asyncio.gather(
            *(client.query("SELECT a FROM p WHERE a = {a:UInt64}", parameters={"a": index}) for index in range(12))
        )
        with pytest.raises(DatabaseError):
            await client.query("SELECT * FROM nowhere")
        await client.close()
        return [answer.result_rows[0][0] for answer in found]

    assert asyncio.run(go()) == list(range(12))


def test_other_formats_and_rows_in_text_work(store_client: Client) -> None:
    store_client.command("CREATE TABLE j (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    store_client.command("INSERT INTO j VALUES (1, 'one'), (2, 'two')")
    store_client.raw_insert("j", ["a", "b"], '{"a":3,"b":"three"}\n', fmt="JSONEachRow")
    store_client.command("INSERT INTO j SELECT 4, 'four'")
    assert store_client.raw_query("SELECT * FROM j ORDER BY a", fmt="CSV") == b'1,"one"\n2,"two"\n3,"three"\n4,"four"\n'
    assert store_client.query("SELECT * FROM j LIMIT 0").column_names == ("a", "b")
    assert store_client.query_np("SELECT a FROM j ORDER BY a").tolist() == [[1], [2], [3], [4]]


@local_only
def test_the_greeting_of_the_go_client_has_block_info(http: urllib3.PoolManager, endpoint: Endpoint) -> None:
    answer = http.request(
        "POST",
        f"http://{endpoint.host}:{endpoint.port}/?client_protocol_version=54454",
        body="SELECT displayName(), version(), revision(), timezone()",
        headers={"X-ClickHouse-Key": endpoint.password},
    )
    version = ask(http, endpoint, "SELECT version()").data.decode().strip()
    assert answer.data == hello_block(version, 54_454)
    assert answer.data.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01")
