"""A client with the token still gets at nothing but the tables: no file, no address, no program, no other user."""

# ruff: noqa: S608  (statements that must be refused are what this file is about)

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from tables.clickhouse.local.guard import refused_word
from tests.support.store import local_only

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = [pytest.mark.component, local_only]

URL: Final = "url('http://127.0.0.1:{port}/', 'LineAsString', 'a String')"
READ: Final = tuple(
    f"SELECT * FROM {source}"
    for source in (
        URL,
        "`url`('http://127.0.0.1:{port}/', 'LineAsString', 'a String')",
        f"(SELECT * FROM {URL})",
        f"loop({URL})",
        f"view(SELECT * FROM {URL})",
        "file('{secret}', 'LineAsString')",
        "`file`('{secret}', 'LineAsString')",
        "FILE /* x */ ('{secret}', 'LineAsString')",
        "fi\\x6ce('{secret}', 'LineAsString')",
        "fileCluster('default', '{secret}', 'LineAsString')",
        "urlCluster('default', 'http://127.0.0.1:{port}/', 'LineAsString')",
        "'{secret}'",
        "`{secret}`",
        "s3('http://127.0.0.1:{port}/b/k', 'LineAsString')",
        "gcs('http://127.0.0.1:{port}/b/k', 'LineAsString')",
        "hdfs('hdfs://127.0.0.1:{port}/k', 'LineAsString', 'a String')",
        "azureBlobStorage('http://127.0.0.1:{port}/', 'x', 'y', 'a', 'b')",
        "iceberg('http://127.0.0.1:{port}/b/')",
        "icebergLocal('{folder}')",
        "deltaLake('http://127.0.0.1:{port}/b/')",
        "deltaLakeLocal('{folder}')",
        "remote('127.0.0.1:{port}', 'system.one')",
        "remoteSecure('127.0.0.1:{port}', 'system.one')",
        "cluster('default', 'system.one')",
        "postgresql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')",
        "mysql('127.0.0.1:{port}', 'a', 'b', 'c', 'd')",
        "mongodb('127.0.0.1:{port}', 'a', 'b', 'c', 'd', 'e String')",
        "redis('127.0.0.1:{port}', 'k', 'k String')",
        "sqlite('{secret}', 't')",
        "odbc('a', 'b', 'c')",
        "jdbc('a', 'b', 'c')",
        "executable('cat', 'TSV', 'a String')",
        "executablePool('cat', 'TSV', 'a String')",
        "filesystem('{folder}')",
        "Python(open)",
        "dictionary('d')",
        "system.zookeeper WHERE path = '/'",
    )
)
OTHERS: Final = (
    "SELECT file('{secret}')",
    f"WITH x AS (SELECT * FROM {URL}) SELECT * FROM x",
    f"SELECT * FROM candles WHERE pair IN (SELECT a FROM {URL})",
    f"EXPLAIN SELECT * FROM {URL}",
    f"DESCRIBE TABLE {URL}",
    "SELECT 1 INTO OUTFILE '{folder}/out'",
    "SELECT 1 FORMAT TSV INTO /* */ OUTFILE '{folder}/out'",
    "INSERT INTO candles FROM INFILE '{secret}' FORMAT TSV",
    "INSERT INTO FUNCTION url('http://127.0.0.1:{port}/', 'TSV', 'a String') SELECT 'x'",
    "INSERT INTO FUNCTION remote('127.0.0.1:{port}', 'a.b') SELECT 1",
    "INSERT INTO TABLE FUNCTION file('{folder}/out', 'TSV', 'a String') VALUES ('x')",
    f"CREATE VIEW v1 AS SELECT * FROM {URL}",
    f"CREATE MATERIALIZED VIEW v2 ENGINE = MergeTree ORDER BY a AS SELECT * FROM {URL}",
    f"CREATE TABLE c1 AS {URL}",
    f"CREATE TABLE c2 ENGINE = MergeTree ORDER BY a AS SELECT * FROM {URL}",
    "CREATE TABLE c3 (a String) ENGINE = URL('http://127.0.0.1:{port}/', 'TSV')",
    "CREATE TABLE c4 (a String) ENGINE = File('TSV', '{secret}')",
    "CREATE TABLE c5 (a String) ENGINE = Executable('cat', 'TSV')",
    "CREATE TABLE c6 (a String) ENGINE = Distributed('default', 'a', 'b')",
    "CREATE TABLE c7 (a String) ENGINE = S3Queue('http://127.0.0.1:{port}/b/*', 'TSV')",
    "CREATE TABLE c8 (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{folder}/')",
    "CREATE DATABASE d1 ENGINE = PostgreSQL('127.0.0.1:{port}', 'a', 'b', 'c')",
    "CREATE DATABASE d2 ENGINE = Filesystem('{folder}')",
    "CREATE DATABASE d3 ENGINE = SQLite('{secret}')",
    "CREATE DICTIONARY d4 (a UInt64) PRIMARY KEY a SOURCE(FILE(path '{secret}' format 'TSV')) LAYOUT(FLAT())",
    "CREATE DICTIONARY d5 (a UInt64) PRIMARY KEY a SOURCE(EXECUTABLE(command 'cat' format 'TSV')) LAYOUT(FLAT())",
    "CREATE FUNCTION f AS (x) -> x",
    "CREATE NAMED COLLECTION n AS a = 1",
    "CREATE USER u",
    "CREATE ROLE r",
    "ALTER USER default IDENTIFIED BY 'x'",
    "GRANT ALL ON *.* TO default",
    "SELECT * FROM system.users",
    "SYSTEM SHUTDOWN",
    "SYSTEM KILL",
    "SYSTEM FLUSH LOGS",
    "SYSTEM START LISTEN HTTP",
    "BACKUP TABLE candles TO File('{folder}/backup')",
    "RESTORE TABLE candles FROM File('{folder}/backup')",
    "ATTACH TABLE x FROM '{folder}' (a Int8) ENGINE = MergeTree ORDER BY a",
    "ALTER TABLE candles FREEZE",
    "ALTER TABLE candles FETCH PARTITION 202601 FROM '/x'",
)


def test_no_statement_reaches_a_file_an_address_or_a_program(store_client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.tsv"
    secret.write_text("the-secret\n")
    reached = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        for template in READ + OTHERS:
            sql = template.format(port=port, secret=secret, folder=tmp_path)
            try:
                answer = store_client.raw_query(sql, fmt=None)
            except ClickHouseError as error:
                answer = str(error).encode()
            else:
                reached.append(sql)
            assert b"the-secret" not in answer, sql
        with pytest.raises(BlockingIOError):  # nobody called
            listener.accept()
    assert reached == []
    assert [file.name for file in tmp_path.iterdir()] == ["secret.tsv"]


def test_a_view_over_what_is_forbidden_shows_nothing(store_client: Client) -> None:
    # It answers with the other half where the first one is not permitted.
    inner = f"SELECT * FROM {URL.format(port=1)} ELSE null('a String')"
    assert store_client.query(f"SELECT * FROM viewIfPermitted({inner})").result_rows == []


@pytest.mark.parametrize("word", ["a file", "profile(1)", "'infiles'", "attached", "disk_space(1)"])
def test_ordinary_words_are_let_through(word: str) -> None:
    assert refused_word(f"SELECT {word}") is None
