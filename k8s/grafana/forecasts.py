"""Forecasts: the fan against what happened, skill, coverage, calibration, and how old the models are."""

from __future__ import annotations

from typing import Final

from k8s.grafana.forecast_queries import (
    AGE,
    CALIBRATION,
    COVERAGE,
    FAN,
    LEAGUE,
    LOSS,
    MADE,
    ONE,
    OUTCOME,
    SKILL,
    SWAPS,
    TRUST,
    WHERE_IT_FELL,
    WIDTH,
)
from k8s.grafana.market import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from k8s.grafana.panel import Dashboard, Kind, Panel, Section, Style, Variable

__all__ = ["FORECASTS"]


def stat(title: str, description: str, unit: str, source: str, expression: str, decimals: int) -> Panel:
    """Give one figure of the chosen model over the range."""
    sql = f"SELECT {expression}\nFROM {source}\nWHERE {ONE} AND {MADE}"
    return Panel(title, description, unit, Kind.STAT, (sql,), width=4, height=4, decimals=decimals)


STATS: Final = (
    stat(
        "Median",
        "Price that the newest forecast in the range takes for the middle.",
        "short",
        "forecasts FINAL",
        "argMaxOrNull(q50, feature_open) AS median",
        2,
    ),
    stat(
        "Chance of a rise",
        "Probability of a price above the base, of the newest forecast.",
        "percentunit",
        "forecasts FINAL",
        "argMaxOrNull(p_up, feature_open) AS chance",
        1,
    ),
    stat(
        "Skill",
        "One minus the model's pinball loss over that of the volatility baseline, on the same rows; above 0 it is "
        "better.",
        "percentunit",
        "scored_forecasts",
        "1 - sum(pinball_bps) / nullIf(sum(baseline_pinball_bps), 0) AS skill",
        2,
    ),
    stat(
        "Inside 90 %",
        "Share of outcomes between q05 and q95; 90 % was promised.",
        "percentunit",
        "scored_forecasts",
        "avgOrNull(inside90) AS inside",
        1,
    ),
    stat("Scored", "Outcomes in the range.", "short", "scored_forecasts", "count() AS scored", 0),
    stat(
        "Trusted",
        "Share of forecasts that nothing stands against.",
        "percentunit",
        "forecasts FINAL",
        "avgOrNull(trusted) AS share",
        1,
    ),
)

FORECASTS: Final = Dashboard(
    uid="tickcast-forecasts",
    title="tickcast Forecasts",
    description="What was forecast, what happened, and how good it was. Scores count outcomes with trades only.",
    variables=(
        Variable(
            "pair",
            "Pair",
            "Pairs with forecasts in the range",
            "SELECT DISTINCT pair FROM forecasts WHERE $__timeFilter(feature_open) ORDER BY pair",
            default="BTC/USD",
        ),
        Variable(
            "horizon",
            "Horizon (s)",
            "How far ahead the price is forecast",
            "SELECT DISTINCT toString(horizon_s) AS horizon FROM forecasts WHERE pair = ${pair:singlequote} "
            "AND $__timeFilter(feature_open) ORDER BY toUInt32(horizon)",
            default="60",
        ),
        Variable(
            "model",
            "Model",
            "Models with forecasts in the range, the one in service first",
            "SELECT model FROM forecasts WHERE pair = ${pair:singlequote} AND horizon_s = ${horizon} "
            "AND $__timeFilter(feature_open) GROUP BY model ORDER BY max(feature_open) DESC, model",
        ),
    ),
    items=(
        *STATS,
        Panel(
            "Fan against outcome",
            "The price quantiles at the time they were made for, and the price that came. Nine of ten outcomes belong "
            "inside the outer band, half of them inside the inner one. Of several in a point the last one is drawn.",
            "short",
            Kind.LINES,
            (FAN, OUTCOME),
            width=24,
            height=12,
            decimals=2,
            styles={
                "q05": Style(BLUE, width=0),
                "q25": Style(BLUE, width=0, fill_to="q05", opacity=12),
                "q50": Style(BLUE, dashed=True, fill_to="q25", opacity=30),
                "q75": Style(BLUE, width=0, fill_to="q50", opacity=30),
                "q95": Style(BLUE, width=0, fill_to="q75", opacity=12),
                "price": Style(ORANGE, width=2),
            },
        ),
        Section("How good"),
        Panel(
            "Skill by hour",
            "One minus pinball loss over that of the volatility baseline, for each model and version. Single hours "
            "are noisy.",
            "percentunit",
            Kind.LINES,
            (SKILL,),
            decimals=1,
            marks=((0, GREY),),
        ),
        Panel(
            "Coverage by hour",
            "Share of outcomes inside the inner and the outer band; 50 % and 90 % were promised.",
            "percentunit",
            Kind.LINES,
            (COVERAGE,),
            low=0,
            high=1,
            decimals=0,
            marks=((0.5, GREEN), (0.9, BLUE)),
            styles={"inside_50": Style(GREEN), "inside_90": Style(BLUE)},
        ),
        Panel(
            "Calibration",
            "Share of outcomes below each quantile beside what its name promises.",
            "percentunit",
            Kind.COLUMNS,
            (CALIBRATION,),
            low=0,
            high=1,
            decimals=1,
            styles={"promised": Style(GREY), "seen": Style(BLUE)},
        ),
        Panel(
            "Where outcomes fell",
            "Share of outcomes between neighbouring quantiles. High ends: too narrow; high middle: too wide; "
            "one-sided: shifted.",
            "percentunit",
            Kind.COLUMNS,
            (WHERE_IT_FELL,),
            low=0,
            decimals=1,
            styles={"promised": Style(GREY), "seen": Style(BLUE)},
        ),
        Panel(
            "Loss by hour",
            "Mean pinball loss over the five levels (bps of the price), and that of the baseline on the same rows.",
            "none",
            Kind.LINES,
            (LOSS,),
            low=0,
            decimals=2,
            styles={"model_loss": Style(BLUE), "baseline_loss": Style(GREY, dashed=True)},
        ),
        Panel(
            "Width",
            "Width of both bands, and the volatility they are scaled with (log return, bps).",
            "none",
            Kind.LINES,
            (WIDTH,),
            low=0,
            decimals=1,
            styles={"inner_90": Style(BLUE), "inner_50": Style(GREEN), "sigma": Style(ORANGE, dashed=True)},
        ),
        Section("Which model"),
        Panel(
            "Model age",
            "From the newest candle that a version has learned from to the candle it answers. Past "
            "TICKCAST_MODEL_EXPIRES_DAYS its forecasts are not trusted.",
            "s",
            Kind.LINES,
            (AGE,),
            low=0,
        ),
        Panel(
            "Trust",
            "Forecasts in each point that nothing stands against, and the reasons of the others (one with two "
            "reasons counts twice).",
            "short",
            Kind.BARS,
            (TRUST,),
            stacked=True,
            styles={
                "trusted": Style(GREEN),
                "stale": Style(RED),
                "model-expired": Style(ORANGE),
                "drift": Style(PURPLE),
                "warm-up": Style(GREY),
                "synthetic": Style(BLUE),
            },
        ),
        Panel(
            "All models",
            "Every horizon and version of the pair that was scored in the range. Loss and mean absolute error of "
            "the median in bps.",
            "short",
            Kind.TABLE,
            (LEAGUE,),
            width=24,
            height=9,
            styles={
                "horizon_s": Style(unit="s"),
                "skill": Style(unit="percentunit", decimals=2),
                "inside_50": Style(unit="percentunit", decimals=1),
                "inside_90": Style(unit="percentunit", decimals=1),
                "loss": Style(unit="none", decimals=2),
                "mae": Style(unit="none", decimals=2),
            },
        ),
        Panel(
            "Went into service",
            "When workers began to answer with which version, for any pair: the newest fifty.",
            "short",
            Kind.TABLE,
            (SWAPS,),
            width=24,
            styles={"horizon_s": Style(unit="s")},
        ),
    ),
    start="now-6h",
    end="now+15m",
)
