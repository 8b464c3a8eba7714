"""The page of a walk-forward or a backtest: for each horizon who is best, in every fold, and how well calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ml.leaderboard import Leaderboard, Standing
from ml.model import LEVELS
from ml.report.charts import calibration_chart, folds_chart
from ml.report.frame import frame
from ml.report.tables import cell, minute, number, percent, probability, table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WalkContent", "render_walk"]

_HEAD: Final = (
    *("model", "rows", "pinball, bps", "skill", "DM", "p", "folds won"),
    *("MAE, bps", "MAE skill", "DM of MAE", "RMSE skill", "direction", "in 50 %", "in 90 %", "90 % width, bps"),
)


class WalkContent(msgspec.Struct, frozen=True):
    """What the page tells."""

    title: str
    about: str
    """One line under the title: what was run on what, by which code."""
    boards: list[Leaderboard]
    served: str
    """Name of the model that would serve."""
    missing: dict[str, str] = {}
    """Models that were asked for and could not be fitted, and why."""
    notes: Sequence[tuple[str, str]] = ()
    """What and value, for the table of the data."""


def render_walk(content: WalkContent) -> str:
    """Give the whole page, below 2,000,000 bytes, without a reference to anything outside of it."""
    charts: dict[str, Any] = {}
    sections: list[tuple[str, str, tuple[str, ...], str]] = [("summary", "Summary", (), _summary(content))]
    for board in content.boards:
        name, minutes = f"h{board.horizon_s}", f"{board.horizon_s // 60} min"
        mine = _parts(board, content.served)
        charts[f"{name}-folds"] = folds_chart([(one.pinball_skill, one.metrics.coverage90) for one in mine])
        charts[f"{name}-calibration"] = calibration_chart(board.calibration)
        sections += [
            (name, f"{minutes}: leaderboard", (), _leaderboard(board)),
            (f"{name}-parts", f"{minutes}: folds", (f"{name}-folds",), _folds(board, content.served)),
            (f"{name}-levels", f"{minutes}: calibration", (f"{name}-calibration",), _calibration(board)),
        ]
    sections.append(("data", "Data", (), table(("what", ""), content.notes)))
    head = f'<h1>{cell(content.title)}</h1><p class="soft">{cell(content.about)}</p>\n'
    return frame(content.title, head, sections, charts)


def _parts(board: Leaderboard, model: str) -> list[Standing]:
    return [one for one in board.standings if one.model == model and one.fold is not None]


def _summary(content: WalkContent) -> str:
    rows = []
    for board in content.boards:
        whole = _whole(board, content.served)
        parts = _parts(board, content.served)
        covered = [one.metrics.coverage90 for one in parts]
        rows.append(
            (
                f"{board.horizon_s // 60} min",
                percent(whole.pinball_skill, sign=True),
                probability(whole.dm_p),
                f"{sum(one.pinball_skill > 0 for one in parts)} of {len(parts)}",
                percent(whole.metrics.coverage90, 1),
                f"{percent(min(covered), 1)} .. {percent(max(covered), 1)}",
                percent(whole.mae_skill, sign=True),
                percent(whole.metrics.direction, 1),
            )
        )
    told = (
        f"<p>{cell(content.served)} against the EWMA-volatility baseline that was fitted on the same past, on rows "
        "that neither had seen. Skill is the share of the baseline's loss that is saved; p is the one-sided "
        "probability of such a Diebold-Mariano statistic under equal losses (Newey-West).</p>\n"
    )
    head = (*("horizon", "pinball skill", "p", "folds won", "in 90 %", "in 90 %, folds", "MAE skill", "direction"),)
    gone = "".join(f"<p>{cell(name)} is not in the tables: {cell(why)}</p>\n" for name, why in content.missing.items())
    return told + table(head, rows) + gone


def _whole(board: Leaderboard, model: str) -> Standing:
    return next(one for one in board.standings if one.model == model and one.fold is None and not one.pair)


def _leaderboard(board: Leaderboard) -> str:
    told = "<p>All models on the same rows, best pinball loss first.</p>\n"
    whole = [one for one in board.standings if one.fold is None and not one.pair]
    told += table(_HEAD, [_line(one.model, one, board) for one in whole])
    by_pair = [one for one in board.standings if one.pair]
    if by_pair:
        rows = [_line(f"{one.model}, {one.pair}", one, board) for one in by_pair]
        told += f"<details><summary>By pair</summary>{table(_HEAD, rows)}</details>\n"
    return told


def _line(name: str, one: Standing, board: Leaderboard) -> tuple[object, ...]:
    parts = [] if one.pair else _parts(board, one.model)
    return (
        name,
        number(one.metrics.rows),
        f"{one.metrics.pinball_bps:.4f}",
        percent(one.pinball_skill, sign=True),
        number(one.dm),
        probability(one.dm_p),
        f"{sum(part.pinball_skill > 0 for part in parts)} of {len(parts)}" if parts else None,
        f"{one.metrics.mae_bps:.3f}",
        percent(one.mae_skill, 3, sign=True),
        number(one.mae_dm),
        percent(one.rmse_skill, 3, sign=True),
        percent(one.metrics.direction, 1),
        percent(one.metrics.coverage50, 1),
        percent(one.metrics.coverage90, 1),
        f"{one.metrics.width90_bps:.1f}",
    )


def _folds(board: Leaderboard, served: str) -> str:
    rows = []
    for at, (span, one) in enumerate(zip(board.folds, _parts(board, served), strict=True)):
        rows.append(
            (
                f"fold {at + 1}",
                f"{minute(span.test_from_ms)} .. {minute(span.test_to_ms)}",
                number(span.train_rows),
                number(span.calibration_rows),
                number(span.test_rows),
                percent(one.pinball_skill, sign=True),
                probability(one.dm_p),
                percent(one.metrics.coverage50, 1),
                percent(one.metrics.coverage90, 1),
                percent(one.mae_skill, 3, sign=True),
            )
        )
    head = (
        *("", "tested (UTC)", "trained on", "calibrated on", "tested on"),
        *("pinball skill", "p", "in 50 %", "in 90 %", "MAE skill"),
    )
    return f"<p>{cell(served)}, trained again before each fold.</p>\n" + table(head, rows, left=2)


def _calibration(board: Leaderboard) -> str:
    rows = [(name, *(percent(share, 2) for share in shares)) for name, shares in board.calibration.items()]
    return "<p>Share of outcomes below each quantile: the nearer to its name, the better.</p>\n" + table(
        ("model", *(f"{level:.0%}" for level in LEVELS)), rows
    )
