"""The API keeps what its OpenAPI document says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from redpanda.local import LocalBroker
from tables.clickhouse.settings import StoreSettings
from tests.api.contract import prove
from tests.api.seeded import PAIR, seed
from tests.api.stack import Api, Topics, running_api
from tests.support.samples import forecast
from tests.support.waiting import wait_for

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def contract(
    tmp_path_factory: pytest.TempPathFactory, api_broker: LocalBroker, store_settings: StoreSettings
) -> Iterator[Api]:
    """An API whose every list has rows."""
    home = tmp_path_factory.mktemp("contract")
    seed(store_settings, home)
    with running_api(home, api_broker.url, store_settings) as api, Topics(api_broker.url) as topics:
        topics.put("forecasts", [forecast(index, PAIR, horizon_s) for index in range(3) for horizon_s in (60, 300)])
        api.wait_ready()
        wait_for(lambda: PAIR in api.context.view.pairs())
        yield api


@pytest.fixture(params=[{}], ids=["anonymous"])
def headers(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Headers of every request: one run each. With a key: add its header here."""
    found: Mapping[str, str] = request.param
    return found


def test_every_answer_is_as_documented(contract: Api, tmp_path: Path, headers: Mapping[str, str]) -> None:
    report = prove(contract.context.url, tmp_path, examples=10, headers=headers)
    assert re.search(r"No issues found", report), report[-3_000:]


@pytest.mark.proof
def test_every_answer_is_as_documented_also_in_many_cases(
    contract: Api, tmp_path: Path, headers: Mapping[str, str]
) -> None:
    prove(contract.context.url, tmp_path, examples=100, headers=headers, seed=2)
