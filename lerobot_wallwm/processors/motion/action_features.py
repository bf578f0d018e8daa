# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""An event's trajectory as a few numbers: resampled to a fixed length, compressed by a discrete cosine transform.

Clusters of these are the paper's action clusters (p. 17: chunks clustered in trajectory space; neither features nor
algorithm are given). Shapes: T frames, A action dimensions, R points after resampling, K coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import dct

from lerobot_wallwm.embodiment.description import Dimension, widest_alike
from lerobot_wallwm.processors.source.episodes import Episode

# Our choice: an event is one stroke; its shape is told by its mean and five half waves.
POINTS, COEFFICIENTS = 32, 6


def trajectory(episode: Episode) -> np.ndarray:
    """The command as a path ``(T, A)``: positions as they are, steps and velocities summed up."""
    steps = episode.what.rates
    return (
        np.where(steps, np.cumsum(episode.action, axis=0), episode.action) if steps.any() else episode.action
    )


def resample(path_TA: np.ndarray) -> np.ndarray:
    """``(R, A)``: the path at equal distances in time, linear between frames."""
    at = np.linspace(0, len(path_TA) - 1, POINTS)
    return np.stack([np.interp(at, np.arange(len(path_TA)), path_T) for path_T in path_TA.T], axis=1)


class ActionFeatures:
    """Turns events into feature vectors.

    `features(episode, path, start, end)` gives one vector of ``A * K + 1`` float32: K orthonormal DCT-II coefficients of
    each action dimension, in its own units, and the logarithm of the duration in seconds. Arm dimensions are relative to
    the event's first frame, as the policy learns them; grippers are absolute, for carrying is not reaching.

    `EventEmbedder` is their transform: whether a command is a position shows in the whole demonstration, not in a short
    event.
    """

    def __call__(self, episode: Episode, path_TA: np.ndarray, start: int, end: int) -> np.ndarray:
        """Features of ``[start, end)`` of a demonstration and its `trajectory`.

        Raises:
            ValueError: The event is empty or runs past its episode.
        """
        if not 0 <= start < end <= len(path_TA):
            raise ValueError(f"event [{start}, {end}) does not lie in an episode of {len(path_TA)} frames")
        part = path_TA[start:end].astype(np.float64)
        arm = np.delete(np.arange(part.shape[1]), episode.what.grippers)
        part[:, arm] -= part[0, arm]
        waves = dct(resample(part), type=2, norm="ortho", axis=0)[:COEFFICIENTS]
        # Divided by sqrt(R), so that the first coefficient is the mean whatever R.
        waves /= np.sqrt(POINTS)
        return np.append(waves.T.ravel(), np.log((end - start) / episode.fps)).astype(np.float32)


def scale_of(features_NF: np.ndarray, dims: Sequence[Dimension] = ()) -> np.ndarray:
    """Divisors ``(F,)`` that make all action dimensions count alike, whatever their units.

    One divisor for a dimension's K coefficients, so that its waves keep their proportions: the root of their total
    variance. A dimension that hardly moves beside others of its unit (`dims`: the action's) keeps a floor, or its noise would make
    clusters of its own. The last column of `features_NF` (from `ActionFeatures`) is the duration.
    """
    variance = features_NF.var(axis=0, dtype=np.float64)
    size = np.sqrt(variance[:-1].reshape(-1, COEFFICIENTS).sum(axis=1))
    # Our choice: 0.02 of the widest.
    size = np.maximum(size, 0.02 * widest_alike(size, dims or [Dimension("")] * len(size)))
    scale = np.append(np.repeat(size, COEFFICIENTS), np.sqrt(variance[-1]))
    return np.where(scale > 0, scale, 1.0).astype(np.float32)
