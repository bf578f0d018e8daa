# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare`: a LeRobotDataset in, its events and their train and held-out views out."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.atomic_folder import atomic_folder
from lerobot_wallwm.processors.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.carver import EventCarver
from lerobot_wallwm.processors.dataset_card import command_line
from lerobot_wallwm.processors.disk_space import check_space, view_bytes
from lerobot_wallwm.processors.episodes import ACTION, STATE, Episode, SourceDataset
from lerobot_wallwm.processors.events import LEVELS, Event, validate_events, write_events
from lerobot_wallwm.processors.kinematics import KinematicsConfig
from lerobot_wallwm.processors.quasi_static import Motion, QuasiStaticPruner
from lerobot_wallwm.processors.scale_config import ScaleConfig
from lerobot_wallwm.processors.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.split import split_episodes
from lerobot_wallwm.processors.video_check import check_videos


@dataclass
class DatasetConfig:
    """The dataset to prepare."""

    # Its folder on this machine.
    root: Path | None = None
    # Its name on the Hub; fetched by LeRobot where root is not given.
    repo_id: str | None = None
    # Branch, tag or commit on the Hub.
    revision: str | None = None


@dataclass
class OutputConfig:
    """Where to write."""

    # The output folder; gets train/, heldout/, events.parquet and summary.json.
    root: Path | None = None
    # A name under LeRobot's own cache folder, used where root is not given.
    repo_id: str | None = None


@dataclass
class PrepareConfig:
    """`wallwm prepare`."""

    # What to read.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # Where to write.
    out: OutputConfig = field(default_factory=OutputConfig)
    # Which events become episodes: task, subtask, action or segment.
    level: str = "action"
    # Part of the source episodes that goes to the held-out view.
    heldout: float = 0.1
    # Of the split.
    seed: int = 0
    # Leaves out frames of an event in which neither state nor action moves by this part of its range per second
    # (quasi_static.py); 0 keeps all. The paper prunes but gives no threshold; 0.02 is a start.
    prune_quasi_static: float = 0.0
    # Writes LeRobot's language columns: `subtask` rows from this level's captions, and a `plan` of what is still to do.
    language: str | None = None
    # Copies videos instead of linking them: views that can be uploaded or moved on their own, at the price of disk space.
    copy_videos: bool = False
    # K of a second view beside each, <split>_keyframes, with K + 1 rows an event (keyframe_view.py); 0 writes none.
    keyframes: int = 0
    # Replace an earlier output.
    overwrite: bool = False
    # No progress bar.
    quiet: bool = False
    # Parameters of the cuts.
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    # How state and action are read.
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)
    # Segmenting and captioning in shards (scale_out.py).
    scale: ScaleConfig = field(default_factory=ScaleConfig)


def annotator(config: PrepareConfig) -> Callable[[Episode], list[Event]]:
    """The steps that look at one episode at a time: from an `Episode` to its events, ids counted from 0."""
    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    captioner = EventCaptioner(config.kinematics)
    return lambda episode: captioner(episode, segmenter(episode))


def prepare(
    config: PrepareConfig, annotate: Callable[[Episode], list[Event]] | None = None
) -> dict[str, Any]:
    """Segments, captions and carves a dataset. Returns the summary that is also written to `summary.json`.

    Args:
        config: See `PrepareConfig`.
        annotate: Replaces `annotator(config)`, for events that were found elsewhere.

    Raises:
        DataError: The source cannot be used; nothing has been written.
        FileExistsError: The output exists and `overwrite` is off.
        ValueError: A parameter is out of range.
    """
    started = time.perf_counter()
    if config.level not in LEVELS:
        raise ValueError(f"--level must be one of {', '.join(LEVELS)}, got {config.level!r}")
    if not 0 <= config.heldout < 1:
        raise ValueError(f"--heldout must be in [0, 1), got {config.heldout}")
    if not 0 <= config.prune_quasi_static < np.inf:
        raise ValueError(
            f"--prune_quasi_static must be at least 0, got {config.prune_quasi_static}. Fix: 0 prunes nothing"
        )
    if config.language is not None and config.language not in LEVELS:
        raise ValueError(f"--language must be one of {', '.join(LEVELS)}, got {config.language!r}")
    if config.keyframes < 0:
        raise ValueError(
            f"--keyframes must be at least 0, got {config.keyframes}. Fix: 0 writes no such view"
        )
    out = output_root(config.out)
    root = source_root(config.dataset)
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"--out.root={out} and --dataset.root={root} overlap. Fix: write outside the source")
    with atomic_folder(out, overwrite=config.overwrite) as partial:
        source = SourceDataset.open(root)
        check_videos(source)
        train, heldout = split_episodes(source.episode_indices, config.heldout, config.seed)
        kinds = 2 if config.keyframes else 1
        needed = [view_bytes(source, out, group, config.copy_videos) for group in (train, heldout) if group]
        check_space(out, kinds * sum(needed))
        annotate = annotate or annotator(config)
        least = EventSegmenter(config.segmenter).min_frames(source.fps)
        per_episode: list[list[Event]] = []
        lengths: dict[int, int] = {}
        spread, motion = _Spread(), Motion(config.kinematics)
        for position in _progress(range(len(source)), "episodes", config.quiet):
            episode = source.read(position, least)
            per_episode.append(annotate(episode))
            lengths[episode.index] = len(episode)
            spread.add(episode)
            if config.prune_quasi_static:
                motion.add(episode)
        events = number_events(per_episode)
        validate_events(events, lengths)
        write_events(events, partial / "events.parquet")

        pruner = None
        if config.prune_quasi_static:
            pruner = QuasiStaticPruner(motion, config.prune_quasi_static, least)
        copy_videos = config.copy_videos
        carver = EventCarver(config.level, pruner, language=config.language, copy_videos=copy_videos)
        sampler = EventCarver(config.level, keyframes=config.keyframes, copy_videos=copy_videos)
        parameters = {
            "heldout": config.heldout,
            "seed": config.seed,
            "prune_quasi_static": config.prune_quasi_static,
            "segmenter": dataclasses.asdict(config.segmenter),
            "kinematics": dataclasses.asdict(config.kinematics),
        }
        views = {}
        for split, episodes in (("train", train), ("heldout", heldout)):
            if not episodes:
                continue
            sidecar = {"split": split, "command": _command(config), "parameters": parameters}
            with _progress(None, "events", config.quiet, f"carve {split}") as bar:
                result = carver(
                    source, events, partial / split, episodes=episodes, sidecar=sidecar, progress=bar.update
                )
            if config.keyframes:
                beside = partial / f"{split}_keyframes"
                sampler(source, events, beside, episodes=episodes, sidecar=sidecar)
            views[split] = {
                "episodes": len(episodes),
                "events": result.events,
                "frames": result.frames,
                "frames_pruned": result.pruned,
                "captions": result.captions,
                "videos_linked": result.linked,
                "videos_copied": result.copied,
            }
        seconds = time.perf_counter() - started
        summary = _summary(config, source, events, lengths, views, spread, seconds)
        (partial / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _command(config: PrepareConfig) -> str:
    """The command for the card, without what changes nothing in the output: where it lies, how it was shared out."""
    same = dataclasses.replace(config, out=OutputConfig(), scale=ScaleConfig(), quiet=False, overwrite=False)
    return command_line(same, PrepareConfig())


def output_root(out: OutputConfig) -> Path:
    if out.root is not None:
        return Path(out.root)
    if out.repo_id is None:
        raise ValueError("no output folder. Fix: pass --out.root=<folder> or --out.repo_id=<name>")
    from lerobot.utils.constants import HF_LEROBOT_HOME

    return HF_LEROBOT_HOME / out.repo_id


def source_root(dataset: DatasetConfig) -> Path:
    if dataset.root is not None:
        return Path(dataset.root)
    if dataset.repo_id is None:
        raise ValueError(
            "no dataset. Fix: pass --dataset.root=<folder> or --dataset.repo_id=<name on the Hub>"
        )
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return Path(LeRobotDataset(dataset.repo_id, revision=dataset.revision).root)


def _progress(items: Any, unit: str, quiet: bool, name: str = "prepare") -> Any:
    from tqdm import tqdm

    return tqdm(items, unit=f" {unit}", desc=name, file=sys.stderr, disable=quiet)


class _Spread:
    """Range of every state and action dimension over the whole dataset."""

    def __init__(self) -> None:
        self.low: dict[str, np.ndarray] = {}
        self.high: dict[str, np.ndarray] = {}

    def add(self, episode: Episode) -> None:
        for key, values in ((STATE, episode.state), (ACTION, episode.action)):
            low, high = values.min(axis=0), values.max(axis=0)
            self.low[key] = np.minimum(self.low.get(key, low), low)
            self.high[key] = np.maximum(self.high.get(key, high), high)

    def warnings(self, source: SourceDataset) -> list[str]:
        """Dimensions that never change: normalising them divides by about zero when they move at deployment."""
        found = []
        for key in self.low:
            names = source.names(key)
            for d in np.flatnonzero(self.low[key] == self.high[key]):
                name = names[d] if d < len(names) else d
                found.append(
                    f"{key}[{name}] is constant over the whole dataset: a policy trained on it cannot learn it"
                )
        return found


def _summary(
    config: PrepareConfig,
    source: SourceDataset,
    events: list[Event],
    lengths: dict[int, int],
    views: dict[str, Any],
    spread: _Spread,
    seconds: float,
) -> dict[str, Any]:
    own = [event for event in events if event.level == config.level]
    duration = sum(lengths.values()) / source.fps
    labels = {}
    for label, count in Counter(event.label for event in own).most_common():
        frames = np.array([event.length for event in own if event.label == label]) / source.fps
        labels[label] = {
            "events": count,
            "seconds_median": round(float(np.median(frames)), 3),
            "seconds_min": round(float(frames.min()), 3),
            "seconds_max": round(float(frames.max()), 3),
        }
    return {
        "format": "wallwm-summary",
        "level": config.level,
        "episodes": len(lengths),
        "frames": sum(lengths.values()),
        "fps": source.fps,
        "events": {level: sum(event.level == level for event in events) for level in LEVELS},
        "labels": labels,
        "captions": dict(Counter(event.caption for event in own).most_common()),
        "templates": dict(Counter(event.template for event in own).most_common()),
        "views": views,
        "warnings": spread.warnings(source),
        "demonstration_seconds": round(duration, 2),
        "seconds": round(seconds, 3),
        "real_time_factor": round(duration / max(seconds, 1e-9), 1),
    }


def print_summary(summary: dict[str, Any], out: Path | str) -> None:
    """Prints the summary as a table."""
    print(
        f"{summary['episodes']} episodes, {summary['frames']} frames, {summary['demonstration_seconds']:.0f} s at {summary['fps']:g} Hz"
    )
    print("events      " + ", ".join(f"{level} {count}" for level, count in summary["events"].items()))
    print(f"\n{'label (' + summary['level'] + ')':<20}{'events':>8}{'median s':>10}{'min s':>8}{'max s':>8}")
    for label, row in summary["labels"].items():
        print(
            f"{label:<20}{row['events']:>8}{row['seconds_median']:>10.2f}{row['seconds_min']:>8.2f}{row['seconds_max']:>8.2f}"
        )
    captions = summary["captions"]
    print(f"\n{len(captions)} captions, {len(summary['templates'])} templates, e.g.")
    for caption in list(captions)[:8]:
        print(f"  {captions[caption]:>5}  {caption}")
    print()
    for split, view in summary["views"].items():
        print(
            f"{split:<9}{view['events']} events of {view['episodes']} episodes, {view['frames']} frames, "
            f"{view['videos_linked']} videos linked, {view['videos_copied']} copied"
            + (f", {view['frames_pruned']} quasi-static frames left out" if view["frames_pruned"] else "")
        )
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    print(f"{summary['seconds']:.2f} s, {summary['real_time_factor']:.0f} times real time -> {out}")
