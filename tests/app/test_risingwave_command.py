"""`tickcast risingwave` as far as it goes without RisingWave."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from app.cli import cli
from redpanda.errors import ConfigError
from tests.support.postgres import postgres, postgres_database
from tests.support.risingwave import CATALOGUE

__all__ = ["postgres", "postgres_database"]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "TICKCAST_HOME": str(tmp_path),
        "TICKCAST_RISINGWAVE_BROKER": "log:9092",
        "TICKCAST_RISINGWAVE_CLICKHOUSE_URL": "http://store:8123",
        "TICKCAST_RISINGWAVE_CLICKHOUSE_PASSWORD": "hunter2",
    }.items():
        monkeypatch.setenv(name, value)


def test_dry_run_prints_every_statement_and_no_password() -> None:
    done = CliRunner().invoke(cli, ["risingwave", "apply", "--dry-run"])
    assert done.exit_code == 0
    assert done.output.count("CREATE ") == done.output.count(";\n") == 25
    assert "properties.bootstrap.server = 'log:9092'" in done.output
    assert "INTERVAL '8 days'" in done.output
    assert "hunter2" not in done.output
    names = [line.split()[-1] for line in CliRunner().invoke(cli, ["risingwave", "list"]).output.splitlines()]
    assert len(names) == 25


def test_without_a_url_it_says_what_to_set() -> None:
    for words in (["apply"], ["status"]):
        done = CliRunner().invoke(cli, ["risingwave", *words])
        assert isinstance(done.exception, ConfigError)
        assert "TICKCAST_RISINGWAVE_URL" in str(done.exception)


@pytest.mark.component
def test_status_of_an_empty_database_is_pending_and_fails(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(CATALOGUE)
        connection.execute("CREATE TABLE candles (mine INT)")
    monkeypatch.setenv("TICKCAST_RISINGWAVE_URL", postgres_database)
    done = CliRunner().invoke(cli, ["risingwave", "status"])
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.output.splitlines()].count("pending") == 24
    assert "foreign  materialized view  candles\n" in done.output
    refused = CliRunner().invoke(cli, ["risingwave", "apply", "--replace"])
    assert "candles exist and were not made by tickcast" in str(refused.exception)
    # PostgreSQL knows no sources: the first statement is refused and named, and nothing is taken for applied.
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DROP TABLE candles")
    refused = CliRunner().invoke(cli, ["risingwave", "apply"])
    assert isinstance(refused.exception, ConfigError)
    assert "refused a statement" in str(refused.exception)
