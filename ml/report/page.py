"""The page: sections in the order in which a person asks. Was it promoted, why, how good is it, on what data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ml.checks.contract import contract
from ml.model import LEVELS
from ml.report.charts import figures
from ml.report.content import lines
from ml.report.frame import frame
from ml.report.tables import Raw, cell, minute, number, percent, spark, table

if TYPE_CHECKING:
    from ml.checks.quality import Gap, Move
    from ml.report.content import Content, FeatureProfile

__all__ = ["render"]

_SECTIONS: Final = (
    ("verdict", "Why"),
    ("leaderboard", "Leaderboard"),
    ("folds", "Folds"),
    ("calibration", "Calibration"),
    ("importance", "Importance"),
    ("drift", "Drift"),
    ("tuning", "Tuning"),
    ("data", "Data"),
)


def render(content: Content) -> str:
    """Give the whole page, below 2,000,000 bytes, without a reference to anything outside of it."""
    charts = figures(content)
    body = {
        "verdict": _verdict(content),
        "leaderboard": _leaderboard(content),
        "folds": _folds(content),
        "calibration": _calibration(content),
        "importance": _importance(content),
        "drift": _drift(content),
        "tuning": _tuning(content),
        "data": _data(content),
    }
    sections = [(name, title, _BOXES[name], body[name]) for name, title in _SECTIONS]
    title = f"tickcast-{content.report.horizon_s}s, version {content.report.version or 'none'}"
    return frame(title, _head(content, title), sections, charts)


_BOXES: Final = {
    "verdict": (),
    "leaderboard": (),
    "folds": ("chart-folds",),
    "calibration": ("chart-calibration",),
    "importance": ("chart-importance",),
    "drift": ("chart-drift",),
    "tuning": ("chart-history", "chart-parallel"),
    "data": (),
}


def _head(content: Content, title: str) -> str:
    report = content.report
    champion = cell(report.champion_version or "none")
    if report.promoted:
        told = f"<b>Promoted.</b> Version {cell(report.version)} serves from now on."
    else:
        told = (
            f"<b>Not promoted: version {champion} goes on serving.</b> This is the normal case. Most challengers do "
            "not beat what serves, and then nothing changes."
        )
    skill = percent(report.skill, sign=True)
    if skill is not None:
        told += (
            f"<br>Pinball skill over the volatility baseline {cell(skill)}, absolute error "
            f"{cell(percent(report.mae_skill, sign=True))}, 90 % interval held "
            f"{cell(percent(report.coverage90, 1))} of {cell(number(report.rows.get('test')))} outcomes."
        )
    kind = "promoted" if report.promoted else "kept"
    facts = (
        f"{report.horizon_s // 60} min ahead, {', '.join(content.pairs)} from {content.source}, "
        f"made {minute(content.made_ms)} UTC by code {content.code}"
    )
    return f'<h1>{cell(title)}</h1><p class="soft">{cell(facts)}</p>\n<div class="verdict {kind}">{told}</div>\n'


def _verdict(content: Content) -> str:
    checks = content.report.checks
    rows = [
        (
            Raw('<span class="ok">held</span>' if check.ok else '<span class="no">not held</span>'),
            check.name,
            number(check.value) if isinstance(check.value, float | int) else check.value,
            check.bound,
        )
        for check in checks
    ]
    told = (
        "<p>The gate promotes where every check holds. DM is the Diebold-Mariano statistic: below -1.645 the loss is "
        "lower beyond chance.</p>\n"
    )
    if not rows:
        return f"<p>The gate was not asked: {cell('; '.join(content.report.reasons))}.</p>\n"
    return told + table(("", "check", "value", "bound"), rows, left=2)


def _leaderboard(content: Content) -> str:
    found = lines(content)
    if not found:
        return "<p>Nothing was scored.</p>\n"
    where = "walk-forward, all folds" if content.leaderboard else "the test block of this training"
    head = (
        "model",
        "rows",
        "pinball, bps",
        "skill",
        "MAE, bps",
        "skill",
        "RMSE, bps",
        "direction",
        "in 50 %",
        "in 90 %",
        "90 % width, bps",
    )
    rows = [
        (
            one.model,
            number(one.rows),
            f"{one.pinball_bps:.4f}",
            percent(one.pinball_skill, sign=True),
            f"{one.mae_bps:.3f}",
            percent(one.mae_skill, sign=True),
            f"{one.rmse_bps:.3f}",
            percent(one.direction, 1),
            percent(one.coverage50, 1),
            percent(one.coverage90, 1),
            f"{one.width90_bps:.1f}",
        )
        for one in found
    ]
    return f"<p>All models on the same rows: {where}. Best pinball first; skill is over the baseline.</p>\n" + table(
        head, rows
    )


def _folds(content: Content) -> str:
    rows = [
        (
            f"fold {at + 1}",
            f"{minute(fold.from_ms)} .. {minute(fold.to_ms)}",
            number(fold.rows),
            f"{fold.pinball_bps:.4f}",
            percent(fold.skill, sign=True),
            percent(fold.coverage50, 1),
            percent(fold.coverage90, 1),
        )
        for at, fold in enumerate(content.report.folds)
    ]
    if not rows:
        return "<p>No folds: nothing was scored.</p>\n"
    head = ("", "test rows from .. to (UTC)", "rows", "pinball, bps", "skill", "in 50 %", "in 90 %")
    return "<p>Consecutive stretches of the test block.</p>\n" + table(head, rows, left=2)


def _calibration(content: Content) -> str:
    if not content.report.calibration:
        return "<p>Nothing was scored.</p>\n"
    rows = [(name, *(percent(share, 1) for share in shares)) for name, shares in content.report.calibration.items()]
    return "<p>Share of outcomes below each quantile: the nearer to its name, the better.</p>\n" + table(
        ("model", *(f"{level:.0%}" for level in LEVELS)), rows
    )


def _importance(content: Content) -> str:
    found = sorted(content.report.importance.items(), key=lambda item: -item[1])
    if not found:
        return "<p>No importance: the model has no trees.</p>\n"
    rows = [(name, f"{value:.2f}") for name, value in found]
    return f"<details><summary>All {len(rows)} inputs</summary>{table(('input', 'share, %'), rows)}</details>\n"


def _drift(content: Content) -> str:
    known = sorted((one for one in content.features if one.psi is not None), key=lambda one: -(one.psi or 0.0))
    if not known:
        return "<p>Nothing to compare.</p>\n"
    moved = sum((one.psi or 0.0) > 0.2 for one in known)  # noqa: PLR2004  # the usual bound of a PSI
    rows = [(one.name, f"{one.psi:.3f}", f"{one.ks or 0.0:.3f}") for one in known]
    return (
        f"<p>The test block, which is newest, against the training rows: {moved} of {len(known)} inputs have moved "
        "(PSI above 0.2).</p>\n"
        f"<details><summary>All inputs</summary>{table(('input', 'PSI', 'KS'), rows)}</details>\n"
    )


def _tuning(content: Content) -> str:
    chosen = content.report.params
    told = "<p>Not tuned: the defaults were used.</p>\n"
    if content.trials:
        complete = sum(one.state == "COMPLETE" for one in content.trials)
        pruned = sum(one.state == "PRUNED" for one in content.trials)
        told = (
            f"<p>{len(content.trials)} trials of this day's study: {complete} complete, {pruned} pruned or cut by the "
            "budget.</p>\n"
        )
    if chosen is None:
        return told
    rows = [(name, number(getattr(chosen, name), 4)) for name in chosen.__struct_fields__]
    if content.trials:
        head = ("trial", "state", "loss", *sorted(content.trials[0].params), "seconds")
        trials = [
            (
                one.number,
                one.state.lower(),
                number(one.loss, 6),
                *(number(one.params.get(name), 3) for name in sorted(content.trials[0].params)),
                f"{one.seconds:.1f}",
            )
            for one in content.trials
        ]
        told += f"<details><summary>All trials</summary>{table(head, trials, left=2)}</details>\n"
    return told + "<p>Chosen:</p>\n" + table(("parameter", "value"), rows)


def _data(content: Content) -> str:
    quality, report = content.report.quality, content.report
    rows: list[tuple[object, object]] = [
        (f"rows of the {name} block", number(count)) for name, count in report.rows.items()
    ]
    if quality is not None:
        rows = [
            ("range (UTC)", f"{minute(quality.first_ms)} .. {minute(quality.last_ms)}"),
            ("rows read", number(quality.rows)),
            ("pairs", number(quality.pairs)),
            ("missing minutes", f"{quality.gaps:,} in {quality.gap_runs:,} gaps"),
            ("longest gap (UTC)", _gap(quality.longest_gap)),
            ("duplicates", number(quality.duplicates)),
            ("rows behind a newer one", number(quality.late)),
            ("rows with a value that is no number", number(quality.not_finite)),
            ("prices out of order", number(quality.bad_prices)),
            ("jumps", number(quality.jumps)),
            ("largest move from one close (UTC)", _move(quality.largest_move)),
            ("synthetic (nothing traded)", percent(quality.synthetic / quality.rows if quality.rows else 0.0)),
            ("not warm yet", number(quality.cold)),
            ("missing values of warm rows", percent(quality.nan_share)),
            ("data contract", contract(quality) or "kept"),
            *rows,
        ]
    rows += [("feature set", content.feature_set), ("input set", content.input_set)]
    told = table(("what", ""), rows)
    if content.features:
        head = (
            "input",
            "histogram, 1 % to 99 %",
            "values",
            "missing",
            "1 %",
            "25 %",
            "50 %",
            "75 %",
            "99 %",
            "PSI",
            "KS",
        )
        told += f"<h2>Inputs of the training rows</h2>\n{table(head, map(_feature, content.features), left=2)}"
    return told


def _gap(one: Gap | None) -> str | None:
    return None if one is None else f"{one.minutes:,} min of {one.pair} from {minute(one.from_ms)}"


def _move(one: Move | None) -> str | None:
    if one is None:
        return None
    return f"{percent(one.share, sign=True)}, {one.times:,.0f} times the usual one, {one.pair} at {minute(one.open_ms)}"


def _feature(one: FeatureProfile) -> tuple[object, ...]:
    return (
        one.name,
        spark(one.histogram),
        number(one.rows),
        percent(one.missing),
        *(number(value) for value in one.quantiles),
        None if one.psi is None else f"{one.psi:.3f}",
        None if one.ks is None else f"{one.ks:.3f}",
    )
