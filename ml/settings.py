"""Settings of models, registry and trainer. Environment prefix `TICKCAST_`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["DriftSettings", "MlSettings", "TrainerSettings"]

CommaList = NoDecode  # the environment gives `60,300,900`, not JSON


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class MlSettings(BaseSettings):
    """What the predictor and the trainer both need: horizons and the registry."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    home: Path = Path(".tickcast")
    """Folder of everything that tickcast keeps on this machine."""

    horizons_s: Annotated[tuple[int, ...], CommaList] = (60, 300, 900)
    """Forecast horizons, whole minutes (s, separated by commas)."""

    mlflow_uri: str = ""
    """MLflow tracking and registry URI; empty: `sqlite:///<home>/mlflow/registry.db`."""

    model_expires_days: float = Field(default=7.0, gt=0, le=400)
    """Age of a model's newest data from which its forecasts are marked `model-expired`; not the baseline (days)."""

    @property
    def model_life_ms(self) -> int:
        """`model_expires_days` in ms."""
        return round(self.model_expires_days * 86_400_000)

    @field_validator("horizons_s", mode="before")
    @classmethod
    def _split_horizons(cls, value: object) -> object:
        return _split(value)

    @field_validator("horizons_s")
    @classmethod
    def _whole_minutes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or any(horizon <= 0 or horizon % 60 for horizon in value):
            raise ValueError("every horizon must be a positive multiple of 60 s, for example 60,300,900")
        return tuple(sorted(set(value)))


class TrainerSettings(MlSettings):
    """How often, on what and how long to train."""

    pairs: Annotated[tuple[str, ...], CommaList] = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD")
    """Pairs to pool (separated by commas)."""

    source: str = "kraken"
    """Where the trades come from, `kraken`, `coinbase`, `sim` or `replay:FILE`; a tag of every model."""

    train_min_candles: int = Field(default=1_000, ge=200)
    """1m candles needed before the first training, as a mean over the pairs that have any (count)."""

    train_history_days: float = Field(default=30.0, gt=0, le=400)
    """Length of the window that is trained and tested on, back from now (days)."""

    train_interval_s: float = Field(default=1_800.0, ge=5)
    """Time from the end of one training to the start of the next (s)."""

    train_poll_s: float = Field(default=3.0, gt=0)
    """Time between looks into the store while waiting for candles (s)."""

    tune_trials: int = Field(default=12, ge=0)
    """Optuna trials per horizon and day of data (count); 0: the defaults of `ml.catboost_model`."""

    tune_budget_s: float = Field(default=8.0, ge=0)
    """Time for tuning per horizon and training (s)."""

    train_threads: int = Field(default=2, ge=1, le=64)
    """Threads of CatBoost (count)."""

    train_nice: int = Field(default=10, ge=0, le=19)
    """Politeness of the training process: the live stream shares its cores and comes first (nice value)."""

    train_keep_reports: int = Field(default=50, ge=1)
    """Newest reports that are kept of each horizon, beside those of versions with an alias; each has 2 MB (count)."""

    train_seed: int = Field(default=20_180_513, ge=0)
    """Base of every random number of a training."""

    @field_validator("pairs", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        return _split(value)


class DriftSettings(BaseSettings):
    """When the scorer says that a model has got worse. Rates of false alarms and delays: docs/adr/0020-drift.md."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    drift_loss_slack: float = Field(default=0.3, gt=0, le=2)
    """Excess of the pinball loss over the baseline's that is let pass (standard deviations of the difference)."""

    drift_loss_bound: float = Field(default=40.0, gt=0)
    """Sum of what goes beyond it at which `error-drift` is raised (standard deviations)."""

    drift_miss_slack: float = Field(default=0.05, gt=0, lt=0.9)
    """Share of outcomes outside of the 90 % interval, beyond 10 %, that is let pass (0..1)."""

    drift_miss_bound: float = Field(default=24.0, gt=0)
    """Outcomes outside of it, beyond those let pass, at which `coverage` is raised (count)."""

    drift_skill_bound: float = Field(default=4.0, gt=0)
    """Standard errors by which the mean loss of a week is above the baseline's at which `skill` is raised."""

    drift_psi: float = Field(default=0.25, gt=0)
    """Population stability index above which an input has moved, if its KS agrees (nats)."""

    drift_ks: float = Field(default=0.15, gt=0, lt=1)
    """Largest distance of the distribution functions above which an input has moved, if its PSI agrees (0..1)."""

    drift_input_share: float = Field(default=0.25, gt=0, le=1)
    """Share of the inputs that must have moved for `feature-drift`; it is over below half of that (0..1)."""

    drift_input_rows: int = Field(default=2_880, ge=60)
    """1m candles after which one has a weight of 1/e in the comparison, and before which there is none (count)."""

    drift_trusted_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of a pair's latest forecasts below which `untrusted` is raised (0..1)."""

    drift_cool_down_s: float = Field(default=3_600.0, ge=0)
    """Least time between two requests for a training of one pair and horizon, by the outcomes' time (s)."""

    drift_ask_again_s: float = Field(default=21_600.0, gt=0)
    """Time after which an alarm that still stands asks for a training again, by the outcomes' time (s)."""
