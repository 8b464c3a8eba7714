"""From the definitions to Grafana's JSON, with Grafana's own types."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import (
    barchart,
    candlestick,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models.candlestick import VizDisplayMode

from k8s.grafana.panel import CLICKHOUSE, PROMETHEUS, Dashboard, Kind, Metric, Panel, Style, Variable, place

__all__ = ["ClickHouseQuery", "dashboard_json", "query_model"]

STORE: Final = d.DataSourceRef(type_val="grafana-clickhouse-datasource", uid=CLICKHOUSE)
METRICS: Final = d.DataSourceRef(type_val="prometheus", uid=PROMETHEUS)
PLUGIN_VERSION: Final = "4.20.0"
_FORMATS: Final = {"series": 0, "table": 1}


class ClickHouseQuery(variants.Dataquery):
    """A query of the plugin grafana-clickhouse-datasource; the SDK has no type of its own for it."""

    def __init__(self, sql: str, ref: str, shape: str) -> None:
        self.sql, self.ref, self.shape = sql, ref, shape

    def to_json(self) -> dict[str, object]:
        """Give it as the plugin's SQL editor writes it."""
        return query_model(self.sql, self.ref, self.shape) | {"datasource": STORE}


class _Ready(cogbuilder.Builder[variants.Dataquery]):
    def __init__(self, query: variants.Dataquery) -> None:
        self._query = query

    def build(self) -> variants.Dataquery:
        return self._query


def query_model(sql: str, ref: str, shape: str) -> dict[str, object]:
    """Give the plugin's fields; `shape` is `series` (it splits by name) or `table`."""
    return {
        "refId": ref,
        "editorType": "sql",
        "rawSql": sql,
        "queryType": "timeseries" if shape == "series" else "table",
        "format": _FORMATS[shape],
        "pluginVersion": PLUGIN_VERSION,
    }


def dashboard_json(board: Dashboard) -> str:
    """Give the whole dashboard, the same text each time."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["tickcast"])
        .timezone("utc")
        .time(board.start, board.end)
        .refresh("30s")
        .tooltip(d.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            dashboard.DashboardLink("tickcast").type(d.DashboardLinkType.DASHBOARDS).tags(["tickcast"]).keep_time(True)
        )
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    for at, (item, x, y, width, height) in enumerate(place(board.items), start=1):
        spot = d.GridPos(h=height, w=width, x=x, y=y)
        if isinstance(item, Panel):
            made.with_panel(_panel(item).id(at).grid_pos(spot))
        else:
            made.with_row(dashboard.Row(item.title).id(at).grid_pos(spot))
    text: str = JSONEncoder(indent=2, sort_keys=True).encode(made.build())
    return text + "\n"


def _variable(one: Variable) -> Any:
    made: Any
    current = _option(one.default) if one.default else None
    if one.values:
        made = dashboard.CustomVariable(one.name).values(",".join(one.values))
        made.options([_option(value, value == one.default) for value in one.values])
    else:
        made = dashboard.QueryVariable(one.name).query(one.sql).datasource(STORE)
        made.refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.DISABLED)
        if one.multi:
            made.multi(True).include_all(True)
            current = d.VariableOption(text=["All"], value=["$__all"], selected=True)
    made.label(one.label).description(one.about)
    return made if current is None else made.current(current)


def _option(value: str, chosen: bool = True) -> d.VariableOption:
    return d.VariableOption(text=value, value=value, selected=chosen)


def _panel(one: Panel) -> Any:
    made: Any = {
        Kind.CANDLES: _candles,
        Kind.LINES: _lines,
        Kind.BARS: _lines,
        Kind.STAT: _stat,
        Kind.COLUMNS: _columns,
        Kind.TABLE: _table,
    }[one.kind](one)
    made.title(one.title).description(one.description).unit(one.unit)
    made.datasource(METRICS if one.metrics else STORE)
    targets: tuple[str | Metric, ...] = one.sql or one.metrics
    for ref, target in zip("ABCDEF", targets, strict=False):
        made.with_target(_target(one, ref, target))
    if one.decimals is not None:
        made.decimals(one.decimals)
    if one.low is not None:
        made.min(one.low)
    if one.high is not None:
        made.max(one.high)
    if one.kind.has_time:
        made.interval(one.min_interval)
    made.thresholds(
        dashboard.ThresholdsConfig()
        .mode(d.ThresholdsMode.ABSOLUTE)
        .steps([d.Threshold(None, "transparent" if one.kind.has_time else "text"), *_steps(one)])
    )
    for name, style in one.styles.items():
        made.override_by_name(name, _properties(style, one))
    return made


def _steps(one: Panel) -> list[d.Threshold]:
    return [d.Threshold(value, color) for value, color in one.marks]


def _target(one: Panel, ref: str, target: str | Metric) -> Any:
    if isinstance(target, str):
        return _Ready(ClickHouseQuery(target, ref, "series" if one.kind in {Kind.LINES, Kind.BARS} else "table"))
    made = prometheus.Dataquery().ref_id(ref).expr(target.expr).legend_format(target.legend)
    return made.instant() if one.kind is Kind.STAT else made.range()


def _candles(_: Panel) -> Any:
    fields = candlestick.CandlestickFieldMap().open("open").high("high").low("low").close("close")
    return candlestick.Panel().mode(VizDisplayMode.CANDLES).fields(fields).include_all_fields(True).legend(_legend())


def _lines(one: Panel) -> Any:
    bars = one.kind is Kind.BARS
    made = (
        timeseries.Panel()
        .draw_style(c.GraphDrawStyle.BARS if bars else c.GraphDrawStyle.LINE)
        .fill_opacity(70 if bars else 0)
        .line_width(0 if bars else 1)
        .show_points(c.VisibilityMode.AUTO)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.NONE))
    )
    if one.stacked:
        made.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    if one.marks:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(c.GraphThresholdsStyleMode.DASHED))
    return made


def _stat(one: Panel) -> Any:
    # `values` shows the row as it is; a metric is a series of which the last value counts.
    options = common.ReduceDataOptions().calcs(["lastNotNull"]).values(not one.metrics)
    return (
        stat.Panel()
        .reduce_options(options)
        .graph_mode(c.BigValueGraphMode.NONE)
        .color_mode(c.BigValueColorMode.VALUE if one.marks else c.BigValueColorMode.NONE)
        .text_mode(c.BigValueTextMode.VALUE)
    )


def _columns(_: Panel) -> Any:
    return barchart.Panel().orientation(c.VizOrientation.VERTICAL).show_value(c.VisibilityMode.ALWAYS).legend(_legend())


def _table(_: Panel) -> Any:
    return table.Panel().show_header(True)


def _legend() -> Any:
    return (
        common.VizLegendOptions()
        .display_mode(c.LegendDisplayMode.LIST)
        .placement(c.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _properties(style: Style, one: Panel) -> list[d.DynamicConfigValue]:
    found: dict[str, object] = {}
    if style.color:
        found["color"] = {"mode": "fixed", "fixedColor": style.color}
    if one.kind in {Kind.LINES, Kind.CANDLES}:
        found["custom.lineWidth"] = style.width
        found["custom.fillOpacity"] = style.opacity if style.fill_to else 60 if style.bars else 0
        if style.fill_to:
            found["custom.fillBelowTo"] = style.fill_to
        if style.dashed:
            found["custom.lineStyle"] = {"fill": "dash", "dash": [6, 4]}
        if style.bars:
            found["custom.drawStyle"] = "bars"
    if style.unit:
        found["unit"] = style.unit
    if style.decimals is not None:
        found["decimals"] = style.decimals
    return [d.DynamicConfigValue(id_val=key, value=value) for key, value in found.items()]
