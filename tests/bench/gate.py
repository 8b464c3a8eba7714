"""Gate: how often it promotes a model where there is nothing to learn, and where there is.

Series of integrated GARCH with the decay of the baseline's volatility: the baseline is the truth, every promotion is a
mistake. Beside them the same number of series whose busy hours can be learnt: every refusal is one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track
from scipy.stats import binomtest  # type: ignore[import-untyped]  # scipy ships no types

from tests.bench import machine, result
from tests.bench.command import finish
from tests.support.feature_columns import clock_candles, noise_candles
from tests.support.gate import trained_verdict

NOISE_MINUTES: Final = 3_000
CLOCK_MINUTES: Final = 12_000
FIRST_SEED: Final = 1_000
BOUND: Final = 0.05


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train on every series and make the JSON result."""
    seeds = range(FIRST_SEED, FIRST_SEED + asked.series)
    few = range(FIRST_SEED, FIRST_SEED + asked.learnable)
    noise = [
        seed
        for seed in track(seeds, "nothing to learn", console=console, transient=True)
        if trained_verdict(noise_candles(NOISE_MINUTES, seed), 60, seed)
    ]
    clock = [
        seed
        for seed in track(few, "something to learn", console=console, transient=True)
        if trained_verdict(clock_candles(CLOCK_MINUTES, seed), 60, seed)
    ]
    found = {"noise": (noise, seeds), "learnable": (clock, few)}
    figures: dict[str, Any] = {}
    for name, (promoted, of) in found.items():
        interval = binomtest(len(promoted), len(of)).proportion_ci(0.95)
        figures[name] = {
            "series": len(of),
            "promoted": len(promoted),
            "share": len(promoted) / len(of),
            "share_95pct": [round(interval.low, 4), round(interval.high, 4)],
        }
    return {
        "name": "gate",
        "machine": machine.describe(),
        "figures": figures,
        "peer": None,
        "ratio": None,
        "notes": f"{NOISE_MINUTES:,} minutes of noise, {CLOCK_MINUTES:,} of the others, 1 minute ahead, without tuning",
        "runs": {name: {"first_seed": of.start, "promoted_seeds": promoted} for name, (promoted, of) in found.items()},
    }


def fault(found: dict[str, Any]) -> str:
    """Say what is wrong with a gate that lets noise through."""
    share = found["figures"]["noise"]["share"]
    return "" if share <= BOUND else f"{share:.1%} of the series of noise were promoted, at most {BOUND:.0%} may be"


def show(found: dict[str, Any], console: Console) -> None:
    """Print both rates with the machine under them."""
    for name, one in found["figures"].items():
        low, high = one["share_95pct"]
        told = f"{one['promoted']} of {one['series']} promoted, {one['share']:.1%} (95 %: {low:.1%} to {high:.1%})"
        console.print(f"{name}: {told}", highlight=False)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=gate", description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=200, help="series with nothing to learn (200)")
    parser.add_argument("--learnable", type=int, default=40, help="series with something to learn (40)")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "gate.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out, fault=fault)


if __name__ == "__main__":
    sys.exit(main())
