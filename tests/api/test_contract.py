"""The API keeps what its OpenAPI document says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import pytest

from api.access import keyfile
from api.access.keys import SCOPES, new_key
from tests.api.contract import prove
from tests.api.stack import Api
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.component, pytest.mark.timeout(900)]  # 30 s on a quiet machine


@pytest.fixture(params=["anonymous", "with a key"])
def headers(request: pytest.FixtureRequest, seeded: Api) -> Mapping[str, str]:
    """Headers of every request: one run each."""
    if request.param == "anonymous":
        return {}
    key, token = new_key(0, SCOPES, rate_per_s=0)
    keyfile.add(seeded.context.settings.keys_file, key)
    sent = {"X-API-Key": token}
    wait_for(lambda: seeded.http.get("/v1/pairs", headers=sent).status_code == HTTPStatus.OK)
    return sent


def test_every_answer_is_as_documented(seeded: Api, tmp_path: Path, headers: Mapping[str, str]) -> None:
    report = prove(seeded.context.url, tmp_path, examples=5, headers=headers)
    assert re.search(r"No issues found", report), report[-3_000:]


@pytest.mark.proof
def test_every_answer_is_as_documented_also_in_many_cases(
    seeded: Api, tmp_path: Path, headers: Mapping[str, str]
) -> None:
    prove(seeded.context.url, tmp_path, examples=50, headers=headers, seed=2)
