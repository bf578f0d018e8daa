# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Leaves out frames in which nothing happens (paper p. 19: quasi-static frames are pruned at event construction).

The paper gives no threshold. Ours is a speed in ranges per second: a frame is left out while neither the state nor the
command has moved by ``threshold / fps`` of its range since the last frame that was kept. Measured from there and not from
the frame before, a slow creep is thinned out rather than lost, and no gap hides more motion than two frames had.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.source.episodes import Episode

# Our choice: white noise passes 4 standard deviations about once in 16000 frames and dimension.
_NOISE_SIGMAS = 4.0


class Motion:
    """Signals of a dataset on the scale of their ranges: state and command, side by side.

    A command that is a step or a velocity moves when it is not zero: it is summed up, and its range is a second at the
    greatest command of the dataset.
    """

    def __init__(self, config: KinematicsConfig | None = None) -> None:
        self.config = config or KinematicsConfig()
        self._extent: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # least, greatest, largest step

    def add(self, episode: Episode) -> None:
        """Takes an episode into account; all of them come before the first `path`."""
        values = np.hstack([episode.state, episode.action])
        steps = np.where(episode.what.rates, np.abs(episode.action).max(0), 0.0)
        low, high, step = self._extent or (values.min(0), values.max(0), steps)
        extent = np.minimum(low, values.min(0)), np.maximum(high, values.max(0)), np.maximum(step, steps)
        self._extent = extent

    def path(self, episode: Episode) -> tuple[np.ndarray, np.ndarray]:
        """Smoothed signals (T, D) in ranges, and the difference (D,) between two frames that noise alone can make.

        Raises:
            ValueError: No episode was added.
        """
        if self._extent is None:
            raise ValueError("Motion knows no ranges yet. Fix: add() the dataset's episodes first")
        step = episode.what.rates & (self._extent[2] > 0)
        command = np.where(step, np.cumsum(episode.action, axis=0), episode.action)
        values = np.hstack([episode.state, command])
        low, high, step_size = self._extent
        size = high - low
        own = len(size) - len(step)
        size[own:] = np.where(step, step_size * episode.fps, size[own:])
        values = values / np.where(size > 0, size, 1.0)
        sigma = self.config.smooth_s * episode.fps
        smooth = gaussian_filter1d(values, sigma, axis=0, mode="nearest")
        return smooth, _NOISE_SIGMAS * _noise_after(values, sigma)


def _noise_after(values_TD: np.ndarray, sigma: float) -> np.ndarray:
    """Standard deviation, per dimension, of the difference of two smoothed frames under white noise alone.

    The noise is judged by second differences, which motion hardly shows in: they have sqrt(6) times its size. A Gaussian
    of width s lets 1 / sqrt(2 sqrt(pi) s) of it through.
    """
    if len(values_TD) < 3:
        return np.zeros(values_TD.shape[1])
    second = np.abs(np.diff(values_TD, n=2, axis=0))
    passed = 1.0 if sigma < 0.3 else 1 / np.sqrt(2 * np.sqrt(np.pi) * sigma)
    return 1.4826 * np.median(second, axis=0) / np.sqrt(6) * min(1.0, passed) * np.sqrt(2)


class QuasiStaticPruner:
    """Chooses which frames of an event are kept.

    Args:
        motion: Knows the ranges of the dataset.
        threshold: Ranges per second below which a frame is quasi-static.
        min_frames: Least frames of an event, if it has as many.

    Raises:
        ValueError: ``threshold`` is not above 0.
    """

    def __init__(self, motion: Motion, threshold: float, min_frames: int = 2) -> None:
        if not 0 < threshold < np.inf:
            got = f"got {threshold}. Fix: 0 prunes nothing"
            raise ValueError(f"--prune_quasi_static must be at least 0, {got}")
        self.motion, self.threshold, self.min_frames = motion, threshold, max(2, min_frames)

    def __call__(self, episode: Episode) -> EventFrames:
        """Reads an episode; ask the result for each of its events."""
        path, noise = self.motion.path(episode)
        return EventFrames(path, np.maximum(self.threshold / episode.fps, noise), self.min_frames)


class EventFrames:
    """The kept frames of one episode's events."""

    def __init__(self, path_TD: np.ndarray, tolerance_D: np.ndarray, min_frames: int) -> None:
        self.path, self.tolerance, self.min_frames = path_TD, tolerance_D, min_frames

    def __call__(self, start: int, end: int) -> np.ndarray:
        """Kept frames of the event ``[start, end)``, ascending; its first and last are among them."""
        kept = [start]
        for frame in range(start + 1, end - 1):
            if (np.abs(self.path[frame] - self.path[kept[-1]]) > self.tolerance).any():
                kept.append(frame)
        if end - 1 > start:
            kept.append(end - 1)
        least = min(self.min_frames, end - start)
        if len(kept) >= least:
            return np.array(kept)
        return np.union1d(kept, np.round(np.linspace(start, end - 1, least)).astype(int))
