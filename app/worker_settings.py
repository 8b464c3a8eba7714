"""Settings of the Faust worker. Environment prefix `TICKCAST_`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["WorkerSettings"]

Stage = Literal["candles", "features", "predictor", "scorer", "sinks"]


class WorkerSettings(BaseSettings):
    """What one worker does and where it keeps its state."""

    model_config = SettingsConfigDict(
        env_prefix="TICKCAST_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    home: Path = Path(".tickcast")
    """Folder of everything that tickcast keeps on this machine."""

    worker_name: str = Field(default="0", pattern=r"^[A-Za-z0-9_-]{1,32}$")
    """Name of this worker's state folder below `<home>/worker`: one a worker, never shared."""

    worker_port: int = Field(default=16066, ge=1024, le=65535)
    """Port of the worker's web server on 127.0.0.1."""

    stages: Annotated[tuple[Stage, ...], NoDecode] = ("candles", "features", "predictor", "scorer", "sinks")
    """Stages that this worker runs, separated by commas; all workers of a group run the same ones."""

    session_timeout_s: float = Field(default=8.0, ge=6.0, le=60.0)
    """How long the broker waits for a silent worker before its partitions move (s)."""

    recovery_deadline_s: float = Field(default=120.0, ge=2.0, le=86_400.0)
    """How long recovery of the tables may stand still before the worker ends (s). One that moves may last longer."""

    stall_s: float = Field(default=60.0, ge=1.0, le=86_400.0)
    """How long offsets may stand still while records wait, before `/health/live` says 503 (s)."""

    @field_validator("stages", mode="before")
    @classmethod
    def _split_stages(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
