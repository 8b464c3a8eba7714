"""The page's files in memory: read once, named by the hash of their content. No clock, no network."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["BASE", "STATIC", "Asset", "Assets", "load"]

STATIC: Final = Path(__file__).parent / "static"
BASE: Final = "__BASE__"
"""Stands in index.html for the folder of the other files, `/page/HASH`."""
TYPES: Final[dict[str, str]] = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
GZIP_MIN_BYTES: Final = 1_024
"""A smaller file fits into one packet as it is."""


class Asset(msgspec.Struct, frozen=True):
    """One file as it is sent."""

    body: bytes
    zipped: bytes | None
    """The same, gzip; None where it is small."""
    content_type: str
    """Litestar adds the charset of texts."""
    etag: str
    """Strong, with its quotes; that of the zipped form ends in `-gzip`."""


class Assets(msgspec.Struct, frozen=True):
    """All files of the page."""

    version: str
    """Hash over names and contents of all files: modules import each other by relative names, so they share one."""
    index: Asset
    files: dict[str, Asset]
    """By name, without index.html."""


def load(folder: Path = STATIC) -> Assets:
    """Read the folder; the same bytes give the same version on every machine."""
    found = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix in TYPES}
    whole = hashlib.sha256()
    for name, body in found.items():
        whole.update(f"{name}:{len(body)}:".encode() + body)
    version = whole.hexdigest()[:16]
    index = found.pop("index.html").replace(BASE.encode(), f"/page/{version}".encode())
    files = {name: _asset(body, TYPES[Path(name).suffix]) for name, body in found.items()}
    return Assets(version, _asset(index, TYPES[".html"]), files)


def _asset(body: bytes, content_type: str) -> Asset:
    # A fixed time in the gzip header: equal contents are equal bytes.
    zipped = gzip.compress(body, 9, mtime=0) if len(body) >= GZIP_MIN_BYTES else None
    return Asset(body, zipped, content_type, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
