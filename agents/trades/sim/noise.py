"""Noise as a function of place: the same key and index give the same number in every process, for ever."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "key_of", "normal", "smooth", "uniform"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def key_of(*parts: object) -> int:
    """Make a 64-bit key of names and numbers."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def uniform(key: int, index: Ints) -> Floats:
    """Uniform numbers in (0, 1): the finaliser of splitmix64 over key + index."""
    z = np.uint64(key) + (index.astype(np.uint64) + np.uint64(1)) * _STEP
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    return np.asarray(((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53, dtype=np.float64)


def normal(key: int, index: Ints) -> Floats:
    """Draw standard normal numbers (Box-Muller)."""
    radius = np.sqrt(-2.0 * np.log(uniform(key, 2 * index)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(key, 2 * index + 1)), dtype=np.float64)


def smooth(key: int, t_s: Floats, period_s: float) -> Floats:
    """Noise that is continuous in time and forgets itself after about `period_s`; `t_s` ascends."""
    place = t_s / period_s
    knot = np.floor(place).astype(np.int64)
    first = int(knot[0])
    values = normal(key, np.arange(first, int(knot[-1]) + 2, dtype=np.int64))
    part = place - knot
    weight = part * part * (3.0 - 2.0 * part)
    return np.asarray(values[knot - first] * (1.0 - weight) + values[knot - first + 1] * weight)
