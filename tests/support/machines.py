"""Running a Hypothesis state machine with the seed that the header of the run names."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

__all__ = ["run_machine"]


def run_machine(machine: type[RuleBasedStateMachine], seed: int, examples: int, steps: int) -> None:
    """Run `examples` histories of up to `steps` steps; `pytest --hypothesis-seed=N` runs the same again."""
    # By the attribute behind `hypothesis.seed`, which would switch the example database off (see tests/conftest.py).
    machine._hypothesis_internal_use_seed = seed
    print(f"seed {seed}")
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            # Most steps have a condition, and that is meant.
            suppress_health_check=list(HealthCheck),
        ),
    )
