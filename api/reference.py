"""The OpenAPI document and its pages. The page at /schema needs no script and no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin

from api.pages import AssetName, asset_url, documentation_router

if TYPE_CHECKING:
    from litestar import Request

__all__ = ["openapi_config"]

DESCRIPTION = """Calibrated price forecasts from live trades.

Rows are the records of the topics: times are integers in ms since the epoch and end in `_ms`; each answer
also tells `as_of` in RFC 3339. `from` and `to` take either form. Every answer with data names its `source`
(also in the header `X-Tickcast-Source`); `simulated: true` marks made-up data. Errors are Problem Details
(RFC 9457, `application/problem+json`) that name the field. The live feed is a WebSocket at `/v1/feed`
(docs/feed.md)."""
STYLE = """<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code { font-family: ui-monospace, monospace }
td { padding: .2rem 1rem .2rem 0; vertical-align: top }
</style>"""


class ScriptPage(OpenAPIRenderPlugin):
    """A page that a script of ours fills with the document; all of it comes from this server."""

    def __init__(self, path: str, script: AssetName, style: AssetName | None = None) -> None:
        super().__init__(path=path)
        self._script = script
        self._style_sheet = style

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        style = "" if self._style_sheet is None else f"<link rel=stylesheet href='{asset_url(self._style_sheet)}'>"
        return (
            f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(openapi_schema['info']['title'])}"
            "</title><meta name=viewport content='width=device-width, initial-scale=1'><link rel=icon href='data:,'>"
            f"{style}</head><body data-document='{escape(self.get_openapi_json_route(request))}'><div id=page></div>"
            "<noscript>This page needs JavaScript; <a href='/schema'>/schema</a> does not.</noscript>"
            f"<script src='{asset_url(self._script)}'></script><script src='/schema/assets/start.js'></script>"
            "</body></html>"
        ).encode()


class ReferencePage(OpenAPIRenderPlugin):
    """Plain HTML list of all operations."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        info = openapi_schema["info"]
        operations = "".join(
            _operation(path, method, operation)
            for path, item in sorted(openapi_schema["paths"].items())
            for method, operation in item.items()
        )
        document = escape(self.get_openapi_json_route(request))
        title = escape(info["title"])
        return (
            f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>{STYLE}</head>"
            f"<body><h1>{title}</h1><p>{escape(info['description'])}</p>"
            f"<p><a href='{document}'>openapi.json</a> · <a href='/schema/asyncapi'>WebSocket feed</a> · "
            f"to try it out: <a href='/schema/scalar'>Scalar</a>, <a href='/schema/swagger'>Swagger</a></p>"
            f"{operations}</body></html>"
        ).encode()


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = "".join(_parameter(parameter) for parameter in operation.get("parameters", []))
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p><b>{escape(operation.get('summary', ''))}</b></p>"
        f"<p>{escape(operation.get('description', ''))}</p><table>{rows}</table>"
    )


def _parameter(parameter: dict[str, Any]) -> str:
    required = "required" if parameter.get("required") else ""
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{required}</td>"
        f"<td>{escape(parameter.get('description', ''))}</td></tr>"
    )


def openapi_config() -> OpenAPIConfig:
    """OpenAPI 3.1 at /schema/openapi.json, pages at /schema, /schema/scalar and /schema/swagger."""
    return OpenAPIConfig(
        title="tickcast",
        version="1.0",
        description=DESCRIPTION,
        use_handler_docstrings=True,
        render_plugins=[
            ReferencePage(path="/"),
            ScriptPage("/scalar", "scalar.js"),
            ScriptPage("/swagger", "swagger.js", "swagger.css"),
        ],
        openapi_router=documentation_router(),
    )
