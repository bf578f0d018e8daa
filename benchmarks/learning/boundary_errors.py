# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Spoils the boundaries of events: moved by chance, or placed by the clock.

An episode is a list of intervals `(start, end, caption)` that tile `[0, T)`. Whatever is done to it, it tiles the same
frames afterwards, and no interval is shorter than `least` frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression

Interval = tuple[int, int, str]


def ordered(wanted: Sequence[float], length: int, least: int) -> list[int]:
    """The boundaries nearest to the wanted ones (least squares) that leave every interval `least` frames.

    With `least` frames a boundary taken off, they must not fall and must lie in `[least, length - count * least]`: an
    isotonic regression, cut off at both ends and rounded, none of which undoes the order.

    Args:
        wanted: Interior boundaries, frames, in the order of the events that they part.
        length: Frames of the episode.
        least: Frames of the shortest interval.

    Raises:
        ValueError: The episode is too short for so many intervals.
    """
    count = len(wanted)
    if length < (count + 1) * least:
        raise ValueError(f"{length} frames do not hold {count + 1} intervals of {least}")
    if not count:
        return []
    taken = np.arange(count) * least
    level = isotonic_regression(np.asarray(wanted, dtype=np.float64) - taken).x
    return (np.rint(np.clip(level, least, length - count * least)).astype(int) + taken).tolist()


def moved(
    intervals: Sequence[Interval], deviation: float, least: int, rng: np.random.Generator
) -> list[Interval]:
    """Every interior boundary moved by a normal error, its standard deviation in frames; captions stay in order."""
    bounds = [start for start, _, _ in intervals[1:]]
    errors = rng.normal(0.0, deviation, len(bounds)) if deviation else np.zeros(len(bounds))
    new = ordered(np.add(bounds, errors), intervals[-1][1], least) if deviation else bounds
    return _between(new, intervals[-1][1], [caption for *_, caption in intervals])


def uniform(intervals: Sequence[Interval]) -> list[Interval]:
    """As many equal parts; each gets the caption that fills most of it."""
    from benchmarks.segmentation.boundary_score import uniform_cuts

    return _renamed(uniform_cuts(intervals[-1][1], len(intervals)), intervals)


def _renamed(bounds: Sequence[int], intervals: Sequence[Interval]) -> list[Interval]:
    """New intervals, each with the caption of the old interval that holds most of it."""
    length = intervals[-1][1]
    captions = []
    for start, end in zip([0, *bounds], [*bounds, length], strict=True):
        shares = [min(end, old_end) - max(start, old_start) for old_start, old_end, _ in intervals]
        captions.append(intervals[int(np.argmax(shares))][2])
    return _between(bounds, length, captions)


def _between(bounds: Sequence[int], length: int, captions: Sequence[str]) -> list[Interval]:
    return list(zip([0, *bounds], [*bounds, length], captions, strict=True))
