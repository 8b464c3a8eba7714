"""The one owner of the embedded engine: opens the folder, hands out a fresh handle per request, maps errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from redpanda.errors import ConfigError, MissingToolError, TickcastError
from tables.clickhouse.local.config import write_config
from tables.clickhouse.settings import StoreSettings

if TYPE_CHECKING:
    from chdb.state.sqlitelike import Connection

__all__ = ["Engine", "EngineError", "Result"]

_CODE: Final = re.compile(r"Code:\s*(\d+)\.")
_SETTING: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EngineError(Exception):
    """What the engine answered: its code and its text."""

    def __init__(self, message: str, code: int | None = None) -> None:
        found = _CODE.search(message)
        self.code = code if code is not None else int(found[1]) if found else 1002
        super().__init__(message if found else f"Code: {self.code}. DB::Exception: {message}")


class Result(NamedTuple):
    """Bytes in the asked format, and what was read or written."""

    body: bytes
    rows: int = 0
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0


class Engine:
    """One open folder. Handles cost 0.1 ms and share nothing, so settings of one request never reach another.

    A handle that failed keeps half of its output and gives it to its next query (seen with 26.9): one more
    reason to use each once.
    """

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        if any(mark in str(folder) for mark in "?&'"):
            raise ConfigError(f"TICKCAST_CLICKHOUSE_URL: the folder {folder} has a ?, & or ' in its name: take another")
        config = write_config(folder / "engine", settings)
        self._target = f"{folder / 'data'}?config-file={config}"
        try:
            from chdb.state.sqlitelike import connect  # noqa: PLC0415  (180 MB, optional, only this process needs it)
        except ImportError as error:
            raise MissingToolError(
                "the local store needs chdb-core: install it with `uv sync --extra local`, "
                "or set TICKCAST_CLICKHOUSE_URL to a ClickHouse server"
            ) from error
        self._connect = connect
        try:
            self._root = connect(self._target)  # keeps the engine alive between requests
        except RuntimeError as error:
            raise _open_error(folder, str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root.close()

    def query(
        self, sql: str, output: str, database: str, settings: Mapping[str, str], params: Mapping[str, str]
    ) -> Result:
        """Run one statement; a FORMAT clause in it wins over `output`."""
        with self._handle(database, settings) as handle:
            answer = handle.query(sql, output, params=dict(params))
            return Result(
                body=answer.bytes() or b"",
                rows=answer.rows_read(),
                read_rows=answer.storage_rows_read(),
                read_bytes=answer.storage_bytes_read(),
                written_rows=answer.rows_written(),
                written_bytes=answer.bytes_written(),
            )

    def insert(self, statement: str, data: bytes, fmt: str, database: str, settings: Mapping[str, str]) -> Result:
        """Run an INSERT with its rows in `fmt`; returns once the rows are on disk."""
        with self._handle(database, settings) as handle, handle.send_insert(statement, fmt) as stream:
            stream.append(data)
            done = stream.finish()
            return Result(b"", written_rows=done.rows_written, written_bytes=done.bytes_written)

    def stop_queries(self) -> None:
        """Ask everything that runs to stop, so that a shutdown does not wait for it."""
        self.query("KILL QUERY WHERE query NOT LIKE 'KILL%' ASYNC", "Null", "", {}, {})

    def stop_query(self, tag: str) -> None:
        """Ask the statements that run with setting `log_comment` = `tag` to stop."""
        sql = "KILL QUERY WHERE Settings['log_comment'] = {tag:String} ASYNC"
        self.query(sql, "Null", "", {}, {"tag": tag})

    @contextmanager
    def _handle(self, database: str, settings: Mapping[str, str]) -> Iterator[Connection]:
        handle = self._connect(self._target)
        try:
            if database:
                handle.query(f"USE {_quoted(database, '`')}")
            if settings:
                pairs = (f"{_setting_name(name)} = {_quoted(value, chr(39))}" for name, value in settings.items())
                handle.query(f"SET {', '.join(pairs)}")
            yield handle
        except RuntimeError as error:  # chdb has no narrower class
            raise EngineError(_message(error)) from error
        finally:
            handle.close()


def _message(error: RuntimeError) -> str:
    text = str(error)
    at = text.find("Code: ")
    return text[at:].strip() if at >= 0 else text.strip()


def _quoted(text: str, quote: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"


def _setting_name(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise EngineError(f"{name!r} is no name of a setting. (UNKNOWN_SETTING)", 115)
    return name


def _open_error(folder: Path, text: str) -> TickcastError:
    if "NOT_ENOUGH_SPACE" in text or "No space left" in text:
        return TickcastError(
            f"the disk of {folder} is full: free some space, or set TICKCAST_CLICKHOUSE_URL to another disk"
        )
    return TickcastError(
        f"the engine cannot open {folder}: {text.splitlines()[0][:300]}. "
        "Move the folder away, or set TICKCAST_CLICKHOUSE_URL to another one, and start again"
    )
