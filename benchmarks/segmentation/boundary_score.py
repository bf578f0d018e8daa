# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Boundary precision, recall and F1, and the uniform baseline they must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TOLERANCE_S = 0.1


@dataclass(frozen=True)
class BoundaryScore:
    """Counts over any number of episodes; add scores to pool them."""

    hits: int = 0
    found: int = 0
    true: int = 0

    def __add__(self, other: BoundaryScore) -> BoundaryScore:
        return BoundaryScore(self.hits + other.hits, self.found + other.found, self.true + other.true)

    @property
    def precision(self) -> float:
        return self.hits / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.hits / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.hits / (self.found + self.true) if self.found + self.true else 0.0

    def cells(self) -> dict[str, float]:
        """Of a benchmark's row."""
        figures = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        return {**figures, "found": self.found, "true": self.true}


def tolerance_frames(fps: float, seconds: float = TOLERANCE_S) -> int:
    """The tolerance in whole frames, rounded down, at least one."""
    return max(1, int(seconds * fps + 1e-9))


def boundary_score(found: Sequence[int], true: Sequence[int], tolerance: int) -> BoundaryScore:
    """Matches boundaries one to one within `tolerance` frames, as many as possible.

    Only interior boundaries belong here: an episode's two ends are always right. Walking both lists in order and
    pairing the earliest that fit is a maximum matching, because all tolerances are equal.
    """
    found, true = sorted(found), sorted(true)
    hits = i = j = 0
    while i < len(found) and j < len(true):
        if abs(found[i] - true[j]) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return BoundaryScore(hits, len(found), len(true))


def uniform_cuts(length: int, events: int) -> list[int]:
    """Interior boundaries of `events` equal parts."""
    return [round(length * i / events) for i in range(1, events)]
