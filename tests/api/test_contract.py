"""The API keeps what its OpenAPI document says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.api.contract import prove
from tests.api.stack import Api

pytestmark = [pytest.mark.component, pytest.mark.timeout(900)]  # 30 s on a quiet machine


@pytest.fixture(params=[{}], ids=["anonymous"])
def headers(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Headers of every request: one run each. With a key: add its header here."""
    found: Mapping[str, str] = request.param
    return found


def test_every_answer_is_as_documented(seeded: Api, tmp_path: Path, headers: Mapping[str, str]) -> None:
    report = prove(seeded.context.url, tmp_path, examples=10, headers=headers)
    assert re.search(r"No issues found", report), report[-3_000:]


@pytest.mark.proof
def test_every_answer_is_as_documented_also_in_many_cases(
    seeded: Api, tmp_path: Path, headers: Mapping[str, str]
) -> None:
    prove(seeded.context.url, tmp_path, examples=50, headers=headers, seed=2)
