"""A broker that stops acknowledging stops the socket: the exchange waits, nothing is dropped."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from agents.trades.service import IngestService
from agents.trades.settings import ingest_settings
from redpanda import admin
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from tests.bench.ingest_sender import Plan, Sender
from tests.support.ingest import published
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from agents.trades.publish import Publisher

pytestmark = [pytest.mark.component, pytest.mark.proof]

PAIR = "PRESS/USD"
FRAMES = 150_000
"""More than the buffers of both sockets, the client's queue and the outbox hold together."""


def test_a_broker_without_acknowledgements_pauses_the_socket_and_then_every_trade_arrives(tmp_path: Path) -> None:
    async def go(broker: LocalBroker, settings: BrokerSettings) -> None:
        port = free_port()
        sender = Sender(Plan(port, PAIR, FRAMES, 0.0, str(tmp_path / "sender.out")))
        service = IngestService(
            ingest_settings(
                home=tmp_path, source="sim", sim_port=port, pairs=PAIR, since="0", ingest_port=0, max_in_flight=1_000
            ),
            settings,
        )

        def publisher() -> Publisher | None:
            return service._publisher

        def is_stopped() -> bool:
            taken = publisher()
            before, is_waiting = seen[-1], taken is not None and taken.stalled_s > len(seen)
            if is_waiting:
                seen.append(sender.sent)
            return is_waiting and sender.sent == before

        seen = [-1]
        stop = asyncio.Event()
        server = await asyncio.start_server(sender.serve, "127.0.0.1", port)
        serving = asyncio.create_task(service.serve(stop))
        try:
            await until(lambda: (taken := publisher()) and taken.published > 500, 60.0)
            os.kill(broker.pid or 0, signal.SIGSTOP)
            try:
                await until(is_stopped, 60.0)
                assert 0 < sender.sent < FRAMES
                taken = publisher()
                assert taken is not None
                assert taken.in_flight < 2_500, "the buffer is bounded"
            finally:
                os.kill(broker.pid or 0, signal.SIGCONT)
            await until(lambda: taken.published == FRAMES, 120.0)
        finally:
            stop.set()
            await serving
            server.close()

    with LocalBroker(tmp_path, free_port()) as broker:
        settings = BrokerSettings(broker_url=broker.url)
        with admin.connect(settings) as client:
            admin.apply(client, settings)
        asyncio.run(go(broker, settings))
        assert [trade.trade_id for trade in published(settings, PAIR)] == list(range(1, FRAMES + 1))
