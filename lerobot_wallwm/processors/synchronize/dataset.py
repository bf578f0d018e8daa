# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Synchronises a whole dataset: decode, measure, judge, take the robot's control delay into account, report."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

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
from lerobot_wallwm.processors.synchronize.synchronizer import (
    Recording,
    Synchronized,
    SynchronizerConfig,
    TemporalSynchronizer,
)
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import DatasetConfig, source_root

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
    *,
    workers: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[list[SyncVerdict], dict[str, Any]]:
    """Measures the rig and judges every episode.

    Args:
        workers: Threads that decode; None takes one per core, eight at most. The result does not depend on it.
        progress: Called with the number of episodes done since its last call.

    Returns:
        A verdict per episode, in order, and the summary that `prepare` writes. An episode whose video or rows cannot be
        read, or that contradicts the rig, is quarantined; nothing is raised for it.
    """
    synchronizer, own = TemporalSynchronizer(config), threading.local()

    def recording(position: int) -> Recording | SyncVerdict:
        if not hasattr(own, "source"):
            own.source = replace(source, _tables={})  # the cache of one file is not made for two threads
        meta = own.source.meta(position)
        try:
            episode = own.source.read(position, min_frames=1)
        except DataError as error:
            return refused(meta["episode_index"], meta["length"], f"unreadable_rows: {error}")
        try:
            return replace(episode, effort=None), camera_motion(own.source, position)
        except DataError as error:
            return refused(episode.index, len(episode), f"unreadable_video: {error}")

    verdicts: dict[int, SyncVerdict] = {}
    recordings: list[Recording] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for read in pool.map(recording, range(len(source))):
            if isinstance(read, SyncVerdict):
                verdicts[read.episode_index] = read
            else:
                recordings.append(read)
            progress(1)
    sets = [tuple(motion) for _, motion in recordings]
    rig = max(set(sets), key=sets.count, default=())
    for (episode, _), names in zip(recordings, sets, strict=True):
        if names != rig:
            lacks = f"other_cameras: it has {', '.join(names) or 'none'}, most episodes {', '.join(rig) or 'none'}"
            verdicts[episode.index] = refused(episode.index, len(episode), lacks)
    own_rig = [item for item, names in zip(recordings, sets, strict=True) if names == rig]
    found = synchronizer(own_rig) if own_rig else Synchronized({}, None, 0.0, [])
    verdicts |= {verdict.episode_index: verdict for verdict in found.verdicts}
    ordered = [verdicts[index] for index in source.episode_indices]
    return ordered, summarize(ordered, found, source.fps)


def summarize(verdicts: Sequence[SyncVerdict], found: Synchronized, fps: float) -> dict[str, Any]:
    """The cameras' lags and counts for `summary.json`, and every quarantined episode with its reason."""
    good = [verdict for verdict in verdicts if not verdict.quarantined]
    bad = [{"episode_index": v.episode_index, "reason": v.reason} for v in verdicts if v.quarantined]
    cameras = {
        name: {
            "lag_frames": camera.lag,
            "lag_ms": round(1000 * (camera.lag + camera.fraction) / fps, 1),
            "margin_nats": round(camera.margin, 1),
            "seen": camera.seen,
        }
        for name, camera in found.cameras.items()
    }
    delay, warnings = found.delay, []
    if delay is not None and delay < -0.5:
        what = f"the action runs {-delay:.1f} frames behind the state in most episodes, which no robot does"
        fix = "pass --synchronizer.control_delay=1 to move them"
        warnings = [f"{what}: the actions may have been recorded late; {fix}"]
    # Our choice: more than that is no accident of single episodes.
    if len(bad) > 0.2 * len(verdicts):
        what = f"{len(bad)} of {len(verdicts)} episodes contradict the rig"
        warnings.append(
            f"{what}: if cameras were changed on the way, synchronise the two parts each on its own"
        )
    return {
        "episodes": len(verdicts),
        "synchronized": len(good),
        "fps": fps,
        "cameras": cameras,
        "control_delay_frames": delay,
        "lags": {str(k): n for k, n in sorted(Counter(v.lag for v in good).items())},
        "action_lags": {str(k): n for k, n in sorted(Counter(v.action_lag for v in good).items())},
        "frames_trimmed": sum(v.length - (v.end_frame - v.first_frame) for v in good),
        "quarantined": bad,
        "warnings": warnings,
    }


def synchronize_for_prepare(
    source: SourceDataset, out: Path, config: SynchronizerConfig, bar: Any
) -> tuple[SynchronizedSource, dict[str, Any]]:
    """The stage of `wallwm prepare`: writes `sync.parquet` to `out`; the other stages read what it returns.

    Raises:
        DataError: No episode is left.
    """
    with bar:
        verdicts, summary = synchronize_dataset(source, config, progress=bar.update)
    if not summary["synchronized"]:
        first = summary["quarantined"][0]
        problem = f"all {len(verdicts)} episodes are quarantined, e.g. episode {first['episode_index']}, {first['reason']}"
        fix = "look at the videos beside the joint curves; leave --synchronize out if they are in step"
        raise DataError(source.root, "--synchronize", problem, fix)
    write_verdicts(verdicts, out / SYNC_FILE)
    return SynchronizedSource.of(source, verdicts), summary


def print_synchronization(summary: Mapping[str, Any], shown: int = 8) -> None:
    """Prints the summary's lines."""
    for name, camera in summary["cameras"].items():
        print(f"  {name:<32} {_lateness(camera, summary['fps'])}")
    delay, fps = summary["control_delay_frames"], summary["fps"]
    if delay is not None:
        print(
            f"  {'from action to state':<32} {delay:.1f} frames ({1000 * delay / fps:.0f} ms), the robot's own"
        )
    count = f"{summary['synchronized']} of {summary['episodes']} episodes"
    print(f"synchronised {count}, {summary['frames_trimmed']} frames trimmed")
    for row in summary["quarantined"][:shown]:
        print(f"  quarantined: episode {row['episode_index']}, {row['reason']}")
    if len(summary["quarantined"]) > shown:
        print(f"  and {len(summary['quarantined']) - shown} more, see {SYNC_FILE}")
    for warning in summary["warnings"]:
        print(f"warning: {warning}")


def _lateness(camera: Mapping[str, Any], fps: float) -> str:
    """How late a camera is, and how sure that is."""
    if not camera["seen"]:
        return "does not tell: its pictures do not move with the joints"
    lag, margin = camera["lag_frames"], camera["margin_nats"]
    late = f"late by {lag} frames" if lag > 0 else f"early by {-lag} frames" if lag else "in step"
    sure = (
        "sure"
        if margin > 10
        else "likely"
        if margin > 2
        else f"not told from a frame ({1000 / fps:.0f} ms) beside it"
    )
    return f"{late} ({camera['lag_ms']:+.0f} ms), {sure}: {margin:.0f} nats before any other lag"


@dataclass
class SyncConfig:
    """`wallwm sync`."""

    # What to read.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # Parameters.
    synchronizer: SynchronizerConfig = field(default_factory=SynchronizerConfig)
    # Where the verdicts go as a table; nothing is written without it.
    out: Path | None = None


def audit(config: SyncConfig) -> dict[str, Any]:
    """Prints how late each camera of a dataset is, how sure that is, and which episodes contradict it. Returns the summary.

    Raises:
        DataError: The dataset cannot be read.
    """
    from tqdm import tqdm

    source = SourceDataset.open(source_root(config.dataset))
    with tqdm(total=len(source), unit=" episodes", desc="sync", file=sys.stderr, leave=False) as bar:
        verdicts, summary = synchronize_dataset(source, config.synchronizer, progress=bar.update)
    recorded = sum(verdict.length for verdict in verdicts)
    print(
        f"{source.root}: {len(source)} episodes, {recorded} frames at {source.fps:g} Hz; pictures against joints:"
    )
    print_synchronization(summary, shown=40)
    if config.out is not None:
        write_verdicts(verdicts, config.out)
        print(f"-> {config.out}")
    else:
        print(
            "nothing was changed. `wallwm prepare --synchronize=true` moves rows and pictures, and leaves these episodes out"
        )
    return summary
