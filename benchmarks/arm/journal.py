# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Goals that the servos of an emulated arm received, in the units of LeRobot, and the beat of a control loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emulated_arm.arms import Arm
from emulated_arm.journal import read_journal


@dataclass
class Units:
    """From a servo's ticks to LeRobot's units, joint by joint: ``(ticks - zero) / scale``."""

    zero: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, arm: Arm, calibration: dict[str, dict]) -> Units:
        """From the arm's calibration, as LeRobot reads it."""
        zero, scale = [], []
        for joint in arm.joints:
            low, high = calibration[joint.name]["range_min"], calibration[joint.name]["range_max"]
            width = high - low
            each = {"degrees": 4095 / 360, "percent": width / 100, "signed_percent": width / 200}
            scale.append(each[joint.units])
            zero.append(low if joint.units == "percent" else (low + high) / 2)
        return cls(np.array(zero, float), np.array(scale, float))

    def from_ticks(self, ticks: np.ndarray) -> np.ndarray:
        """``(..., joints)`` ticks in LeRobot's units."""
        return (ticks - self.zero) / self.scale

    def to_ticks(self, values: np.ndarray) -> np.ndarray:
        """``(..., joints)`` LeRobot's units in ticks."""
        return values * self.scale + self.zero


def commands(journal: Path, joints: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Commands of all joints at once, as a sync write gives them.

    Args:
        journal: The emulator's.
        joints: How many there are.

    Returns:
        Times ``(T,)`` in seconds since 1970, of each command's first servo; ticks ``(T, joints)``; and whether each goal
        lay outside its servo's limits. A command that misses a servo is left out.
    """
    times, rows, outside = [], [], []
    row: dict[int, dict] = {}
    for goal in read_journal(journal, "goal"):
        if goal["id"] in row:
            row = {}
        row[goal["id"]] = goal
        if len(row) == joints:
            ordered = [row[i] for i in sorted(row)]
            times.append(ordered[0]["t"])
            rows.append([g["ticks"] for g in ordered])
            outside.append([g["outside"] for g in ordered])
            row = {}
    shape = (len(rows), joints)
    return (np.array(times), np.array(rows, float).reshape(shape), np.array(outside, bool).reshape(shape))


def periods(times: np.ndarray, rate: float) -> dict[str, float]:
    """Figures of a control loop's beat, all in ms.

    Jitter is how far the time between two commands is from ``1 / rate``.
    """
    gaps = np.diff(times)
    off = np.abs(gaps - 1 / rate) * 1e3
    if not len(gaps):
        return {"commands": float(len(times))}
    return {
        "commands": float(len(times)),
        "seconds": float(times[-1] - times[0]),
        "rate_hz": float(len(gaps) / (times[-1] - times[0])),
        "jitter_p50_ms": float(np.quantile(off, 0.5)),
        "jitter_p99_ms": float(np.quantile(off, 0.99)),
        "jitter_max_ms": float(off.max()),
        "longest_gap_ms": float(gaps.max() * 1e3),
        "missed": float((np.maximum(np.round(gaps * rate), 1) - 1).sum()),
    }
