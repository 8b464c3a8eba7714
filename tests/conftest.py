"""Fixtures that every test folder may use, and the seed that reproduces a run."""

import random

import hypothesis
import pytest

pytest_plugins = ["tests.support.broker", "tests.support.kafka_sockets"]

# A pause of the machine within one example is no fault of what is tested: time is measured in tests/bench.
hypothesis.settings.register_profile("tickcast", deadline=None)
hypothesis.settings.load_profile("tickcast")

SEED = random.SystemRandom().randrange(1 << 32)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every Hypothesis test a seed that the header names.

    By the attribute behind `hypothesis.seed`: the decorator and the option both switch the example
    database off, and a failure found once should be tried first the next time.
    """
    if _given(config) is None:
        for item in items:
            if isinstance(item, pytest.Function) and hypothesis.is_hypothesis_test(item.obj):
                known = vars(getattr(item.obj, "__func__", item.obj))
                known["_hypothesis_internal_use_seed"] = known.get("_hypothesis_internal_use_seed") or SEED


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed in the header: `pytest --hypothesis-seed=N` runs the same examples again."""
    given = _given(config)
    return f"hypothesis seed: {SEED if given is None else given}"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Seed for a test that draws by itself, the one that the header names."""
    given = _given(request.config)
    return SEED if given is None else int(str(given))


def _given(config: pytest.Config) -> object:
    return getattr(config.option, "hypothesis_seed", None)
