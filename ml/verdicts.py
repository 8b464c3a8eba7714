"""What a training came to, for the status file and for the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ml.evaluate import as_percent

if TYPE_CHECKING:
    from ml.training import HorizonReport

__all__ = ["brief", "summary", "tell"]

_log = logging.getLogger("tickcast.trainer")


def summary(report: HorizonReport) -> dict[str, Any]:
    """Give what the board shows of a training."""
    return {
        "verdict": "promoted" if report.promoted else "refused",
        "why": report.reasons,
        "skill": report.skill,
        "mae_skill": report.mae_skill,
        "coverage90": report.coverage90,
        "version": report.version,
        "champion": report.champion_version,
        "rows": report.rows,
        "trials": report.trials,
    }


def brief(report: HorizonReport) -> str:
    """Give the verdict in one line."""
    if report.promoted:
        return f"promoted: version {report.version}, pinball skill {as_percent(report.skill or 0.0)} over the baseline"
    return f"refused: version {report.champion_version} stays champion ({'; '.join(report.reasons)})"


def tell(report: HorizonReport) -> None:
    """Log the verdict; a refusal is no warning."""
    if report.promoted:
        _log.info(
            "%d s: version %s promoted, pinball skill %s over the baseline",
            report.horizon_s,
            report.version,
            as_percent(report.skill or 0.0),
        )
    else:
        _log.info(
            "%d s: version %s stays champion; the challenger is refused: %s",
            report.horizon_s,
            report.champion_version,
            "; ".join(report.reasons),
        )
