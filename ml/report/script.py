"""plotly.js inside a page of less than 2 MB: deflated, and written as text in base 85.

The library of the Python package is 4.8 MB. Deflate makes 1.47 MB of it, base 64 would make 1.96 MB of that and leave
no room; base 85 makes 1.84 MB. The browser undoes both with `DecompressionStream` (every browser since spring 2023),
without network, also from `file://`. Where it cannot, or scripts are off, the tables say all that the charts say.
"""

from __future__ import annotations

import base64
import json
import zlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["charts_script", "packed_plotly"]

_ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%()*+-;=?@^_`{|}~,./"
"""Without `<`, `>`, `&`, quotes and backslash: nothing of it can end the element."""
_PYTHONS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

_RUN: Final = """
(async () => {
  const note = document.getElementById("no-charts");
  try {
    const text = document.getElementById("plotly").textContent.trim(), abc = ALPHABET;
    const digit = new Uint8Array(128);
    for (let i = 0; i < 85; i++) digit[abc.charCodeAt(i)] = i;
    const out = new Uint8Array(text.length / 5 * 4), view = new DataView(out.buffer);
    for (let i = 0, o = 0; i < text.length; i += 5, o += 4) {
      let n = 0;
      for (let k = 0; k < 5; k++) n = n * 85 + digit[text.charCodeAt(i + k)];
      view.setUint32(o, n);
    }
    const raw = new Blob([out.subarray(0, SIZE)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const script = document.createElement("script");
    script.textContent = await new Response(raw).text();
    document.head.appendChild(script);
    const figures = JSON.parse(document.getElementById("figures").textContent);
    const draw = () => {
      const css = getComputedStyle(document.documentElement), ink = css.getPropertyValue("--ink").trim();
      const line = css.getPropertyValue("--line").trim();
      for (const [name, figure] of Object.entries(figures)) {
        const axis = {gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true};
        const layout = {...figure.layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
          font: {color: ink, family: "system-ui, sans-serif", size: 12}};
        for (const key of ["xaxis", "yaxis", "yaxis2"]) if (layout[key]) layout[key] = {...axis, ...layout[key]};
        Plotly.react(name, figure.data, layout, {responsive: true, displayModeBar: false});
      }
    };
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    note.hidden = true;
  } catch (error) {
    note.hidden = false;
    note.textContent = "The charts could not be drawn (" + error + "). The tables hold the same figures.";
    for (const box of document.querySelectorAll(".chart")) box.hidden = true;
  }
})();
"""


@cache
def packed_plotly() -> tuple[str, int]:
    """Give plotly.min.js as text, and the length of the deflated bytes; empty where the package is not installed."""
    try:
        source = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        return "", 0
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    small = deflate.compress(source) + deflate.flush()
    text = base64.b85encode(small, pad=True).translate(bytes.maketrans(_PYTHONS, _ALPHABET))
    return text.decode(), len(small)


def charts_script(figures: Mapping[str, Any]) -> str:
    """Give the elements that draw `figures`, by the id of their box; empty where plotly is not installed."""
    text, size = packed_plotly()
    if not text:
        return ""
    # Inside a script element only `<` could end it.
    data = json.dumps(figures, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    run = _RUN.replace("ALPHABET", json.dumps(_ALPHABET.decode())).replace("SIZE", str(size))
    return (
        f'<script type="application/json" id="figures">{data}</script>\n'
        f'<script type="text/plain" id="plotly">{text}</script>\n<script>{run}</script>\n'
    )
