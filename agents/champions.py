"""The models in service: follows the champion aliases of the registry, in a thread of its own.

What serves stays until something better is loaded and proven: a registry that is away, an alias that is gone and an
artefact that is refused change nothing but what the health says. Where nothing was ever loaded, the untrained
baseline stands in, so that there is never silence; its forecasts are not trusted.

The thread is a daemon: a registry that hangs holds up neither the event loop nor the end of the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ml.alias import Target
from ml.baseline import BaselineModel
from ml.model import ForecastModel, Origin
from ml.registry import Registry, model_name
from ml.settings import MlSettings
from ml.trust import Standing
from redpanda.errors import TickcastError, UnreachableError

__all__ = ["ChampionWatch"]

logger = logging.getLogger("tickcast.champions")

POLL_S: Final = 0.5
"""Time between two looks: a swap is due within a second."""
PATIENCE_S: Final = 60.0
"""How long a registry that answers may have no champion before the baseline stands in: the trainer makes the first."""
AGAIN_REFUSED_S: Final = 60.0
"""Until an artefact that was refused is read again: it seldom gets better, and a person may mend it."""
AGAIN_AWAY_S: Final = 5.0
"""Until an artefact that could not be fetched is asked for again."""
SILENCE_S: Final = 3.0
"""A question that is open for longer is told."""


class _Refusal(NamedTuple):
    """What could not be loaded."""

    target: Target
    why: str
    again_s: float
    """When it may be tried again (monotonic)."""


@dataclass(slots=True)
class _Slot:
    """One horizon."""

    horizon_s: int
    model: ForecastModel | None = None
    """The last good champion."""
    stand_in: ForecastModel | None = None
    """Serves while there is no `model`."""
    problem: str = ""
    """Why the alias cannot be followed; empty while it can."""
    answered_ms: int | None = None
    """When the registry last said where the alias points, or that there is none (wall clock)."""
    refusal: _Refusal | None = None


class ChampionWatch:
    """The models in service, by horizon.

    `models` and `report` are for the event loop; `refresh` is for the thread.

    Parameters
    ----------
    clock_s
        Monotonic (s).

    """

    def __init__(self, registry: Registry, settings: MlSettings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._life_ms = settings.model_life_ms
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._asked_s: float | None = None
        self._slots = [_Slot(horizon_s) for horizon_s in settings.horizons_s]
        self._publishing = threading.Lock()
        self._stopping = threading.Event()
        self.models: dict[int, ForecastModel] = {}
        """Replaced whole: who holds it sees one state of things."""
        self.has_looked = False
        """Whether the registry was asked once, and answered or not."""
        self.failure: BaseException | None = None
        """A fault of this program that ended the thread."""

    def start(self) -> None:
        """Follow the aliases until `stop`."""
        threading.Thread(target=self._run, name="tickcast-champions", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end; does not wait for it."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.refresh()
                self._stopping.wait(POLL_S)
        except BaseException as error:
            self.failure = error
            raise

    def refresh(self) -> None:
        """Load what has become champion since; blocking, raises nothing that the registry may do to us."""
        away = ""
        for slot in self._slots:
            target = None
            if not away:
                self._asked_s = self._clock_s()
                try:
                    target = self._registry.champion_target(slot.horizon_s)
                except TickcastError as error:
                    away = str(error)  # the other horizons would only wait for it in turn
            if away:
                self._keep(slot, away, stands_in=True)
            else:
                self._take(slot, target)
            if self.has_looked:
                self._publish()
        # The first look at once: a candle that is answered for one horizon is not asked for another one later.
        self._publish()
        self._asked_s = None
        self.has_looked = True

    def _take(self, slot: _Slot, target: Target | None) -> None:
        """Follow one answer."""
        slot.answered_ms = time.time_ns() // 1_000_000
        if target is None:
            is_late = self._clock_s() - self._started_s >= PATIENCE_S
            self._keep(slot, f"{model_name(slot.horizon_s)} has no champion in {self._registry.uri}", stands_in=is_late)
        elif slot.model is not None and slot.model.version == target.version:
            self._keep(slot, "")
        elif slot.refusal is not None and slot.refusal.target == target and self._clock_s() < slot.refusal.again_s:
            self._keep(slot, slot.refusal.why)
        else:
            self._load(slot, target)

    def _load(self, slot: _Slot, target: Target) -> None:
        try:
            model = self._registry.load(slot.horizon_s, target)
        except TickcastError as error:
            pause_s = AGAIN_AWAY_S if isinstance(error, UnreachableError) else AGAIN_REFUSED_S
            slot.refusal = _Refusal(target, str(error), self._clock_s() + pause_s)
            self._keep(slot, slot.refusal.why, stands_in=True)
            return
        self._keep(slot, "")
        slot.model = model
        logger.info("Champion for %d s: %s version %s", slot.horizon_s, model.name, model.version)

    def _keep(self, slot: _Slot, problem: str, *, stands_in: bool = False) -> None:
        """Leave the model as it is, for a reason or because it is the right one."""
        if problem != slot.problem:
            if problem and slot.model is not None:
                logger.warning("%s stays in service: %s", _label(slot.model), problem)
            elif problem:
                logger.warning("No champion for %d s yet: %s", slot.horizon_s, problem)
            else:
                logger.info("The champion for %d s can be followed again", slot.horizon_s)
        slot.problem = problem
        if stands_in:
            self._stand_in(slot)

    def stand_in(self) -> None:
        """Put the baseline wherever nothing is in service: the registry has taken too long to answer even once."""
        for slot in self._slots:
            self._stand_in(slot)
        self._publish()

    @staticmethod
    def _stand_in(slot: _Slot) -> None:
        slot.stand_in = slot.stand_in or BaselineModel(Origin(slot.horizon_s))

    def _publish(self) -> None:
        with self._publishing:
            served = {slot.horizon_s: slot.model or slot.stand_in for slot in self._slots}
            self.models = {horizon_s: model for horizon_s, model in served.items() if model is not None}

    def standing(self, model: ForecastModel) -> Standing:
        """Say how a model stands that is in service."""
        return Standing(model.expires_at_ms(self._life_ms), is_champion=bool(model.alias))

    def report(self, now_ms: int) -> dict[str, dict[str, object]]:
        """Describe each horizon (s) for the health, as JSON types."""
        asked_s = self._asked_s
        silent_s = 0.0 if asked_s is None else self._clock_s() - asked_s
        silence = f"the model registry has not answered for {silent_s:.0f} s" if silent_s > SILENCE_S else ""
        return {str(slot.horizon_s): self._described(slot, now_ms, silence) for slot in self._slots}

    def _described(self, slot: _Slot, now_ms: int, silence: str) -> dict[str, object]:
        model = self.models.get(slot.horizon_s)
        expires_at_ms = model.expires_at_ms(self._life_ms) if model is not None else None
        return {
            "model": model.name if model is not None else None,
            "version": model.version if model is not None else None,
            "alias": model.alias if model is not None else None,
            "source": model.origin.source if model is not None else None,
            "data_to_ms": model.origin.data_to_ms if model is not None else None,
            "expires_at_ms": expires_at_ms,
            "expired": expires_at_ms is not None and now_ms >= expires_at_ms,
            "registry_answered_at_ms": slot.answered_ms,
            "problem": slot.problem or silence,
        }


def _label(model: ForecastModel) -> str:
    return f"{model.name} v{model.version} for {model.horizon_s} s"
