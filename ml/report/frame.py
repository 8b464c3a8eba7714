"""What every page has: style, headline, links to its sections, and the script of its charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml.report.script import charts_script
from ml.report.tables import cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["frame"]

_STYLE: Final = """
:root { --paper: #fff; --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --card: #f9fafb; --good: #047857;
  --calm: #1d4ed8; --bad: #b45309; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f172a; --ink: #e2e8f0; --soft: #94a3b8; --line: #334155;
  --card: #1e293b; --good: #34d399; --calm: #93c5fd; --bad: #fbbf24; } }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.verdict { background: var(--card); border-left: 4px solid var(--calm); padding: .8rem 1rem; margin: 1rem 0; }
.verdict.promoted { border-color: var(--good); } .verdict b { font-size: 1.1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; } td.w { white-space: normal; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; vertical-align: bottom; } .n { text-align: right; }
.ok { color: var(--good); } .no { color: var(--bad); font-weight: 600; }
svg { display: block; } svg path { fill: var(--calm); opacity: .75; } summary { cursor: pointer; color: var(--soft); }
nav a { margin-right: 1rem; } a { color: var(--calm); }
"""


def frame(
    title: str, head: str, sections: Sequence[tuple[str, str, Sequence[str], str]], charts: Mapping[str, Any]
) -> str:
    """Give the whole page, without a reference to anything outside of it.

    Parameters
    ----------
    head
        HTML above the links.
    sections
        Name, title, ids of the charts above the text, and the text (HTML).
    charts
        Figures as plotly.js takes them, by the id of their box; a box without one is left out.
    """
    body = "".join(
        f'<section id="{name}"><h2>{cell(heading)}</h2>\n'
        + "".join(f'<div class="chart" id="{box}"></div>\n' for box in boxes if box in charts)
        + f"{text}</section>\n"
        for name, heading, boxes, text in sections
    )
    links = "".join(f'<a href="#{name}">{cell(heading)}</a>' for name, heading, *_ in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{cell(title)}</title><style>{_STYLE}</style></head>\n<body>\n{head}"
        f'<nav>{links}</nav>\n<p class="soft" id="no-charts" hidden></p>'
        '<noscript><p class="soft">Scripts are off: the tables hold the figures of the charts.</p></noscript>\n'
        f"{body}{charts_script(charts)}</body></html>\n"
    )
