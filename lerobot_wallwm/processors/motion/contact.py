# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""When an episode's gripper holds something and its arm touches something, from effort, current or force.

* Gripper: the finger stands still and its motor works. Without effort the tracking error stands in for it: a command that
  goes on closing while the finger does not follow.
* Arm: a signal that is quiet in free motion and rises above its noise, as a force sensor's or a compensated torque's does.
  Joint currents that carry the arm's weight are never quiet; of those nothing is claimed.

All thresholds are our choice, set on simulated recordings that no table scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lerobot_wallwm.processors.source.episodes import Episode

# How far to trust a contact as a boundary on its own: enough to bound segments where a motor or a sensor shows it, not
# enough to bound actions (what an arm does may begin before the force is felt); an inferred hold confirms others only.
SENSED, INFERRED = 0.35, 0.2
# Part of the gripper's range per second up to which a finger stands still.
_STILL = 0.3
# Least tracking error of a hold, as a part of the gripper's range.
_LEAST_ERROR = 0.05


@dataclass(frozen=True)
class Contact:
    """One hold by `gripper`, or a touch of the arm (-1), in frames `[start, end)`; where it lasts, to the episode's end.

    `confidence` says how far its two ends are to be trusted as boundaries on their own.
    """

    start: int
    end: int
    confidence: float
    gripper: int


def contacts(episode: Episode, grip_effort: list[int]) -> tuple[Contact, ...]:
    """The contacts of an episode, with or without effort, in time order.

    `grip_effort` are the dimensions of the effort that are grippers, in the order of the action's; with another number of them
    nothing is told of a finger.
    """
    what, effort = episode.what, episode.effort
    found: list[Contact] = []
    for g, d in enumerate(what.grippers):
        if len(fingers := what.fingers(d)) != 1:
            continue
        finger = episode.state[:, fingers[0]]
        if effort is not None and len(grip_effort) == len(what.grippers):
            found += _holds(np.abs(effort[:, grip_effort[g]]), finger, g, episode.fps, SENSED)
        elif what.action[d].follows >= 0 and min(np.ptp(finger), np.ptp(episode.action[:, d])) > 0:
            error = np.abs(episode.action[:, d] - finger)
            error = np.where(error > _LEAST_ERROR * np.ptp(finger), error, 0.0)
            found += _holds(error, finger, g, episode.fps, INFERRED)
    if effort is not None:
        found += _touches(np.delete(effort, list(grip_effort), axis=1), episode.fps)
    return tuple(sorted(found, key=lambda contact: contact.start))


def jitter_of(values: np.ndarray) -> np.ndarray:
    """Robust standard deviation of a signal's steps from frame to frame, per dimension."""
    steps = np.diff(values, axis=0) if len(values) > 1 else np.zeros_like(values)
    return 1.4826 * np.median(np.abs(steps), axis=0)


def _holds(
    force: np.ndarray, finger: np.ndarray, gripper: int, fps: float, confidence: float
) -> list[Contact]:
    """Where a finger at rest is loaded with at least half of the episode's greatest load, for 0.2 s or more."""
    reach = float(np.ptp(finger))
    if reach <= 0 or len(finger) < 3:
        return []
    rate = np.gradient(finger) / reach * fps
    resting = np.where(np.abs(rate) < _STILL, force, 0.0)
    peak = float(np.quantile(resting, 0.98))
    noise = float(jitter_of(force)) / np.sqrt(2)
    if peak <= max(4 * float(np.quantile(resting, 0.25)), 6 * noise):
        return []  # loaded as much at its least as at its most, or not more than by noise
    runs = _runs(resting > 0.5 * peak, round(0.25 * fps), max(2, round(0.2 * fps)))
    return [Contact(start, end, confidence, gripper) for start, end in runs]


def _touches(effort: np.ndarray, fps: float) -> list[Contact]:
    """Where the signal differs from its start by more than its noise; none if it is not at rest for a quarter of the time."""
    if effort.shape[1] == 0 or len(effort) < 8:
        return []
    sigma = 0.025 * fps
    smooth = gaussian_filter1d(effort, sigma, axis=0, mode="nearest") if sigma >= 0.5 else effort
    noise = jitter_of(effort) / np.sqrt(2)
    # What a Gaussian of this width lets through of white noise.
    passed = min(1.0, 1 / np.sqrt(2 * np.sqrt(np.pi) * sigma)) if sigma >= 0.5 else 1.0
    free = np.median(effort[: max(3, round(0.3 * fps))], axis=0)
    size = np.linalg.norm(smooth - free, axis=1)
    peak, floor = float(np.quantile(size, 0.98)), float(np.linalg.norm(noise)) * passed
    if peak <= 10 * floor or peak <= 0:
        return []
    limit = max(4 * floor, 0.02 * peak)
    # A touch bounces; a gap of up to 0.25 s is chatter.
    runs = _runs(size > limit, round(0.25 * fps), max(2, round(0.1 * fps)))
    touched = sum(end - start for start, end in runs)
    if touched > 0.75 * len(effort) or any(start == 0 for start, _ in runs):
        return []
    return [Contact(start, end, SENSED, -1) for start, end in runs]


def _runs(mask: np.ndarray, gap: int, least: int) -> list[tuple[int, int]]:
    """Runs of True of at least `least` frames, after gaps of up to `gap` frames between two are closed."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    joined: list[list[int]] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if joined and start - joined[-1][1] <= gap:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return [(start, end) for start, end in joined if end - start >= least]
