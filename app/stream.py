"""The Faust app, built from settings: tables, stages, status. `faust -A app worker` and `tickcast worker` run it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from functools import cache
from typing import Any, cast

from agents.candles import CandlesStage
from agents.champions import ChampionWatch
from agents.changelogs import Facts
from agents.chunk_app import ChunkApp
from agents.chunks import ChunkConsumer
from agents.features import FeaturesStage
from agents.inputs import InputsStage
from agents.metrics_page import metrics_page
from agents.predictor import PredictorStage
from agents.recovery import StateTables
from agents.scorer import ScorerStage
from agents.send import compress_fast
from agents.service_log import ServiceLog
from agents.sinks import make_sinks
from agents.stage import WorkerState
from app.health_pages import Health
from app.state_folder import folder_of, hold
from app.worker_settings import WorkerSettings
from ml.registry import Registry
from ml.settings import DriftSettings, MlSettings
from redpanda.admin import apply, connect
from redpanda.settings import BrokerSettings
from redpanda.topics import (
    CANDLE_STATE,
    CANDLES,
    CANDLES_LIVE,
    CHANGELOG_CONFIG,
    FEATURE_STATE,
    FEATURES,
    FORECAST_ERRORS,
    FORECASTS,
    GROUP,
    ROLLING_STATE,
    SCORE_STATE,
    TRADES,
)
from tables.candles import CandleRules
from tables.clickhouse.settings import StoreSettings
from tables.status import Status, write_status

__all__ = ["create_app", "the_app"]

logger = logging.getLogger("tickcast.worker")


def create_app(
    worker: WorkerSettings, broker: BrokerSettings, rules: CandleRules, ml: MlSettings, store: StoreSettings
) -> ChunkApp:
    """Build the worker's app: every stage that `worker.stages` names, on one broker."""
    compress_fast()
    datadir = folder_of(worker.home, worker.worker_name)
    datadir.mkdir(parents=True, exist_ok=True)
    app = ChunkApp(
        GROUP,
        broker=[f"kafka://{address}" for address in broker.broker_url.split(",")],
        store="rocksdb://",
        datadir=str(datadir),
        topic_partitions=broker.partitions,
        topic_replication_factor=broker.replication,
        topic_allow_declare=True,
        processing_guarantee="at_least_once",
        broker_session_timeout=worker.session_timeout_s,
        broker_heartbeat_interval=worker.session_timeout_s / 4,
        broker_request_timeout=60.0,
        broker_commit_interval=1.0,
        producer_compression_type="lz4",
        producer_max_batch_size=1024 * 1024,
        producer_max_request_size=8 * 1024 * 1024,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=True,
        web_port=worker.worker_port,
        web_bind="127.0.0.1",
        web_tables_enabled=False,
        autodiscover=False,
        loghandlers=[],
    )
    # Held to the end of the process: `faust -A app worker` comes here, too.
    lock = ExitStack()

    def prepare() -> None:
        lock.enter_context(hold(datadir))
        _make_topics(broker)

    app.before_start = prepare
    tables = cast(StateTables, app.tables)
    tables.facts, tables.deadline_s = Facts(broker), worker.recovery_deadline_s
    state = WorkerState()
    app.failed = lambda: state.failed or ""
    stages = set(worker.stages)
    if "candles" in stages:
        table = _table(app, broker, CANDLE_STATE, TRADES, (CANDLES, CANDLES_LIVE))
        CandlesStage(app, state, table, rules, broker.partitions)
    if "features" in stages:
        table = _table(app, broker, FEATURE_STATE, CANDLES, (FEATURES,))
        FeaturesStage(app, state, table, rules.retention_ms + rules.lateness_ms)
    _add_forecasting(app, state, worker, broker, rules, ml)
    if "sinks" in stages:
        make_sinks(app, state, store)
    _report(app, state, worker)
    return app


def _add_forecasting(
    app: ChunkApp,
    state: WorkerState,
    worker: WorkerSettings,
    broker: BrokerSettings,
    rules: CandleRules,
    ml: MlSettings,
) -> None:
    watch = ChampionWatch(Registry(ml), ml)
    if "predictor" in worker.stages:
        table = _table(app, broker, ROLLING_STATE, FORECAST_ERRORS, ())
        PredictorStage(app, state, watch, table)
        ServiceLog(app, watch, ml.model_life_ms)
    if "scorer" in worker.stages:
        table, drift = _table(app, broker, SCORE_STATE, FORECASTS, (FORECAST_ERRORS,)), DriftSettings()
        ScorerStage(app, state, table, rules.retention_ms + rules.lateness_ms, drift)
        if "predictor" in worker.stages:  # it follows the champions
            InputsStage(app, state, table, watch, drift)


def _make_topics(broker: BrokerSettings) -> None:
    with connect(broker) as admin:
        apply(admin, broker)


def _table(app: ChunkApp, broker: BrokerSettings, name: str, source: str, outputs: tuple[str, ...]) -> Any:
    return app.Table(
        name,
        partitions=broker.partitions,
        key_type=bytes,
        value_type=bytes,
        source=source,
        outputs=outputs,
        extra_topic_configs=CHANGELOG_CONFIG,
    )


def _report(app: ChunkApp, state: WorkerState, worker: WorkerSettings) -> None:
    """Serve the health pages, and write the status file each second."""
    health = Health(app, state, worker)

    async def report() -> None:
        async with metrics_page(health.exposition):
            while not app.should_stop:
                await health.look()
                status = worker_status(app, state, health, worker.worker_name)
                await asyncio.to_thread(write_status, worker.home, status)
                await app.sleep(1.0)

    app.from_the_start.append(report)


def worker_status(app: ChunkApp, state: WorkerState, health: Health, name: str = "0") -> Status:
    """Describe the worker as the board shows it."""
    phase = health.phase
    consumer: Any = app.consumer if phase == "live" else None
    lag = consumer.lag() if isinstance(consumer, ChunkConsumer) else -1
    return Status(
        # The board shows the first worker; others on the same folder have a file of their own.
        name="worker" if name == "0" else f"worker-{name}",
        state=phase,
        counters={**state.counters, "lag": lag},
        detail={
            "forecasts": list(state.forecasts.values()),
            "first_forecast_at_ms": state.first_forecast_at_ms,
            "scores": state.score_rows(),
            "input_drift": state.input_rows(),
            "live_close": dict(state.live_close),
            "champions": dict(state.champions),
            "models": dict(state.models),
            "failed": state.failed,
            # Next offset to deliver, end of the log, records not done.
            "partitions": consumer.positions() if lag >= 0 else {},
            "first_at_ns": dict(state.first_at_ns),
            "last_at_ns": dict(state.last_at_ns),
        },
    )


@cache
def the_app() -> ChunkApp:
    """Build the app of this process from the environment."""
    return create_app(WorkerSettings(), BrokerSettings(), CandleRules(), MlSettings(), StoreSettings())
