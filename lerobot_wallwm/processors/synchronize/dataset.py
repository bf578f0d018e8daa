# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Synchronises a whole dataset: decode, measure, judge, take the robot's control delay into account, report."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.pictures import pictures
from lerobot_wallwm.processors.synchronize.signals import image_motion
from lerobot_wallwm.processors.synchronize.source import (
    SYNC_FILE,
    SynchronizedSource,
    SyncVerdict,
    refused,
    write_verdicts,
)
from lerobot_wallwm.processors.synchronize.synchronizer import SynchronizerConfig, TemporalSynchronizer
from lerobot_wallwm.storage.errors import DataError

# Our choice: fewer episodes do not tell the robot's delay from an error of one of them.
_FEWEST_EPISODES = 3
# Pixels. Our choice: at 96 a motion of 200 pixels a second is still 5 pixels a frame at 20 Hz, and DIS takes 0.2 ms.
SHORT_SIDE = 96


def camera_motion(source: SourceDataset, position: int) -> dict[str, np.ndarray]:
    """The motion of every camera of an episode: `{camera: (T, 2)}`, see `image_motion`.

    Raises:
        DataError: A video is missing, damaged, or has no frame for a row.
    """
    meta = source.meta(position)
    return {
        camera: image_motion(pictures(source, meta, camera, short_side=SHORT_SIDE, gray=True))
        for camera in source.cameras(meta)
    }


def synchronize_dataset(
    source: SourceDataset,
    config: SynchronizerConfig | None = None,
    kinematics: KinematicsConfig | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[list[SyncVerdict], dict[str, Any]]:
    """Judges every episode.

    Args:
        workers: Threads that decode; None takes one per core, eight at most. The result does not depend on it.
        progress: Called with the number of episodes done since its last call.

    Returns:
        A verdict per episode, in order, and the summary that `prepare` writes. An episode whose video or rows cannot be
        read is quarantined, as are weak and inconsistent ones; nothing is raised for them.
    """
    synchronizer = TemporalSynchronizer(config, kinematics)
    own = threading.local()

    def judged(position: int) -> SyncVerdict:
        if not hasattr(own, "source"):
            own.source = replace(source, _tables={})  # the cache of one file is not made for two threads
        meta = own.source.meta(position)
        try:
            episode = own.source.read(position, min_frames=1)
        except DataError as error:
            return refused(meta["episode_index"], meta["length"], f"unreadable_rows: {error}")
        try:
            return synchronizer(episode, camera_motion(own.source, position))
        except DataError as error:
            return refused(episode.index, len(episode), f"unreadable_video: {error}")

    verdicts = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for verdict in pool.map(judged, range(len(source))):
            verdicts.append(verdict)
            progress(1)
    delay = synchronizer.config.control_delay
    warnings: list[str] = []
    if delay is None:
        delay, warnings = control_delay(verdicts)
        if delay is not None:
            verdicts = [synchronizer.with_control_delay(verdict, delay, source.fps) for verdict in verdicts]
    return verdicts, summarize(verdicts, delay, warnings)


def control_delay(verdicts: Sequence[SyncVerdict]) -> tuple[float | None, list[str]]:
    """The robot's delay from action to state, frames: the median of the episodes that tell it, if most of them agree.

    It is measured without the pictures, so an episode that is quarantined for its video tells it as well as any other.

    Returns:
        None where it cannot be told, and what the user should know.
    """
    found = np.array([v.action_delay for v in verdicts if np.isfinite(v.action_delay)])
    if len(found) < _FEWEST_EPISODES:
        return None, []
    median = float(np.median(found))
    if np.mean(np.abs(found - median) <= 0.5) <= 0.5:
        span = f"from {found.min():.1f} to {found.max():.1f} frames"
        what = f"the delay from action to state differs from episode to episode ({span}): actions are moved with the state only"
        return None, [f"{what}; if you know the robot's delay, pass --synchronizer.control_delay"]
    if median < -0.5:
        what = f"the action runs {-median:.1f} frames behind the state in most episodes, which no robot does"
        fix = "pass --synchronizer.control_delay=1 to move them"
        return None, [f"{what}: the actions may have been recorded late; {fix}"]
    return round(median, 6), []


def summarize(
    verdicts: Sequence[SyncVerdict], delay: float | None, warnings: Sequence[str]
) -> dict[str, Any]:
    """Counts for `summary.json`, and every quarantined episode with its reason."""
    good = [verdict for verdict in verdicts if not verdict.quarantined]
    bad = [{"episode_index": v.episode_index, "reason": v.reason} for v in verdicts if v.quarantined]
    return {
        "episodes": len(verdicts),
        "synchronized": len(good),
        "control_delay_frames": delay,
        "lags": {str(k): n for k, n in sorted(Counter(v.lag for v in good).items())},
        "action_lags": {str(k): n for k, n in sorted(Counter(v.action_lag for v in good).items())},
        # In these, the action was moved with the state, unchecked.
        "action_delay_unknown": sum(not np.isfinite(v.action_delay) for v in good),
        "frames_trimmed": sum(v.length - (v.end_frame - v.first_frame) for v in good),
        "quarantined": bad,
        "warnings": list(warnings),
    }


def synchronize_for_prepare(
    source: SourceDataset, out: Path, config: SynchronizerConfig, kinematics: KinematicsConfig, bar: Any
) -> tuple[SynchronizedSource, dict[str, Any]]:
    """The stage of `wallwm prepare`: writes `sync.parquet` to `out`; the other stages read what it returns.

    Raises:
        DataError: No episode is left.
    """
    with bar:
        verdicts, summary = synchronize_dataset(source, config, kinematics, progress=bar.update)
    if not summary["synchronized"]:
        first = summary["quarantined"][0]
        problem = f"all {len(verdicts)} episodes are quarantined, e.g. episode {first['episode_index']}, {first['reason']}"
        fix = "look at the videos beside the joint curves; leave --synchronize out if they are in step"
        raise DataError(source.root, "--synchronize", problem, fix)
    write_verdicts(verdicts, out / SYNC_FILE)
    return SynchronizedSource.of(source, verdicts), summary


def print_synchronization(summary: Mapping[str, Any]) -> None:
    """Prints the summary's lines."""
    delay = summary["control_delay_frames"]
    lags = ", ".join(f"{lag} ({n})" for lag, n in summary["lags"].items())
    known = f"; control delay {delay:.1f} frames" if delay is not None else ""
    count = f"{summary['synchronized']} of {summary['episodes']} episodes"
    print(f"synchronised {count}, lags in frames: {lags}{known}")
    for row in summary["quarantined"][:8]:
        print(f"  quarantined: episode {row['episode_index']}, {row['reason']}")
    if len(summary["quarantined"]) > 8:
        print(f"  and {len(summary['quarantined']) - 8} more, see {SYNC_FILE}")
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
