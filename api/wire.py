"""The way of a frame to the socket: uvicorn's WebSocket protocol with a direct path for frames that many clients share.

The common way (Litestar, ASGI, the protocol's own state machine, a queue and a task for each client) costs several
times what the kernel takes for the send itself, for every client again although all get the same bytes. Here the
frame is made once and written to each transport; uvloop joins what one pass of its loop writes to one socket.
Accepting, reading, pings and closing stay uvicorn's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

__all__ = ["WIRE", "Wire", "WireProtocol", "text_frame", "wire_of"]

WIRE: Final = "tickcast.wire"
"""Key of the ASGI scope's extensions under which the protocol stands."""
FRAGMENTS_MAX: Final = 64
"""Parts of one message: empty ones count for no size and would be kept without end."""


class Wire(Protocol):
    """Where frames of one connection go."""

    @property
    def open(self) -> bool:
        """Whether a frame may be written now; once False, `on_open` tells the end of it."""

    def write(self, frame: bytes) -> None:
        """Hand a whole frame to the transport; only while it is open."""

    def watch(self, on_shut: Callable[[], None], on_open: Callable[[], None]) -> None:
        """Name who is told that the buffer is full, and that it is empty again (or the connection lost)."""

    def abort(self) -> None:
        """End the connection without a goodbye."""


class WireProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol as a `Wire`."""

    _on_shut: Callable[[], None] | None = None
    _on_open: Callable[[], None] | None = None

    async def run_asgi(self) -> None:
        extensions: dict[Any, Any] = self.scope["extensions"] or {}
        extensions[WIRE] = self
        await super().run_asgi()

    @property
    def open(self) -> bool:
        return (
            self.writable.is_set() and not self.close_sent and not self.disconnected and not self.transport.is_closing()
        )

    def write(self, frame: bytes) -> None:
        self.transport.write(frame)

    def watch(self, on_shut: Callable[[], None], on_open: Callable[[], None]) -> None:
        self._on_shut, self._on_open = on_shut, on_open

    def abort(self) -> None:
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._on_shut is not None:
            self._on_shut()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._on_open is not None:
            self._on_open()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # A transport that is lost while its buffer is full never says that it may be written again.
        if self._on_open is not None:
            self._on_open()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            # Pongs of a client that does not read would pile up here.
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < FRAGMENTS_MAX:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()


def wire_of(scope: MutableMapping[str, Any]) -> Wire:
    """Give the wire of a connection that this API's server has taken."""
    wire: Wire = scope["extensions"][WIRE]
    return wire


def text_frame(payload: bytes) -> bytes:
    """Make the WebSocket frame of one whole text message, as a server sends it."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)
