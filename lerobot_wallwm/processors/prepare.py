# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare`: a LeRobotDataset in, its events and their train and held-out views out."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.atomic_folder import atomic_folder
from lerobot_wallwm.processors.balance_stage import balance_events, print_figures
from lerobot_wallwm.processors.balancer import BalancerConfig
from lerobot_wallwm.processors.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.carver import EventCarver
from lerobot_wallwm.processors.clean_dataset import (
    clean_for_prepare,
    parameters as clean_parameters,
    print_cleaning,
)
from lerobot_wallwm.processors.cleaning_rules import CleanConfig
from lerobot_wallwm.processors.clusterer import ClusterConfig
from lerobot_wallwm.processors.disk_space import check_space, estimate_space, room_runs_out_clearly
from lerobot_wallwm.processors.episodes import ACTION, STATE, Episode, SourceDataset
from lerobot_wallwm.processors.events import LEVELS, Event, validate_events, write_events
from lerobot_wallwm.processors.kinematics import KinematicsConfig
from lerobot_wallwm.processors.quasi_static import Motion, QuasiStaticPruner
from lerobot_wallwm.processors.recovery_sampler import RecoveryConfig, print_recovery, recovery_copies
from lerobot_wallwm.processors.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.split import split_episodes
from lerobot_wallwm.processors.synchronize_dataset import print_synchronization, synchronize_for_prepare
from lerobot_wallwm.processors.synchronizer import SynchronizerConfig
from lerobot_wallwm.processors.vlm_config import VlmConfig
from lerobot_wallwm.processors.vlm_report import report_lines
from lerobot_wallwm.processors.vlm_stage import CaptionStage
from lerobot_wallwm.processors.work_folder import work_folder


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
    # Draws retries, re-grasps and corrections more often, in the training view alone; off by default.
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    # What a robot could not have done, and what becomes of it.
    clean: CleanConfig = field(default_factory=CleanConfig)
    # Measures the lag between video and robot in each episode, mends it in the view, and leaves episodes out that are in
    # doubt (synchronizer.py). Off: it decodes every frame, and at deployment the camera is as late as it was in the
    # recording, so a policy that only reacts may be better off with the rows as they are.
    synchronize: bool = False
    # Clusters the events, and writes rare ones more often into the training view (balance_stage.py).
    balance: bool = False
    # Replace an earlier output.
    overwrite: bool = False
    # No progress bar.
    quiet: bool = False
    # Parameters of the cuts.
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    # How state and action are read.
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)
    # Who words the events: kinematic (no model needed) or vlm (a vision-language model behind --vlm.base_url).
    captioner: str = "kinematic"
    # The model, its server, and how it is asked.
    vlm: VlmConfig = field(default_factory=VlmConfig)
    # Parameters of --synchronize.
    synchronizer: SynchronizerConfig = field(default_factory=SynchronizerConfig)
    # How events are clustered.
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    # How strongly clusters are balanced.
    balancer: BalancerConfig = field(default_factory=BalancerConfig)


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Cleans, segments, captions and carves a dataset. Returns the summary that is also written to `summary.json`.

    Raises:
        DataError: The source cannot be used, or there is no room for the output; nothing has been written.
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
    out = _output_root(config.out)
    root = _source_root(config.dataset)
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"--out.root={out} and --dataset.root={root} overlap. Fix: write outside the source")
    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    caption_stage = CaptionStage(config.captioner, config.vlm, config.kinematics, out, root)
    with (
        room_runs_out_clearly(out),
        atomic_folder(out, overwrite=config.overwrite) as partial,
        work_folder(out, root) as work,
    ):
        source = SourceDataset.open(root)
        least = segmenter.min_frames(source.fps)
        splits = split_episodes(source.episode_indices, config.heldout, config.seed)
        check_space(estimate_space(source, partial, splits), partial)
        journal = work.journal("clean", clean_parameters(config.clean, config.kinematics, least))
        with _progress(range(len(source)), "episodes", config.quiet, "clean") as bar:
            source, cleaning = clean_for_prepare(
                source, partial, config.clean, config.kinematics, least, journal, bar.update
            )
        synchronization = None
        if config.synchronize:
            bar = _progress(None, "episodes", config.quiet, "synchronize", len(source))
            source, synchronization = synchronize_for_prepare(
                source, partial, config.synchronizer, config.kinematics, bar
            )
        captioner = EventCaptioner(config.kinematics)
        per_episode: list[list[Event]] = []
        lengths: dict[int, int] = {}
        spread, motion = _Spread(), Motion(config.kinematics)
        for position in _progress(range(len(source)), "episodes", config.quiet):
            episode = source.read(position, least)
            per_episode.append(captioner(episode, segmenter(episode)))
            lengths[episode.index] = len(episode)
            spread.add(episode)
            if config.prune_quasi_static:
                motion.add(episode)
        events = caption_stage(source, number_events(per_episode), partial, config.quiet)
        validate_events(events, lengths)
        write_events(events, partial / "events.parquet")

        train, heldout = split_episodes(source.episode_indices, config.heldout, config.seed)
        pruner = None
        if config.prune_quasi_static:
            pruner = QuasiStaticPruner(motion, config.prune_quasi_static, least)
        carver = EventCarver(config.level, pruner)
        balance = None
        if config.balance:
            with _progress(None, "events", config.quiet, "embed") as bar:
                balance = balance_events(
                    source,
                    [event for event in events if event.level == config.level],
                    train,
                    partial,
                    config.cluster,
                    config.balancer,
                    kinematics=config.kinematics,
                    pruner=pruner,
                    seed=config.seed,
                    progress=bar.update,
                )
        copies, recovery = recovery_copies(
            config.recovery,
            config.kinematics,
            source,
            events,
            config.level,
            train,
            partial,
            balance.copies if balance is not None else None,
        )
        parameters = {
            "heldout": config.heldout,
            "seed": config.seed,
            "prune_quasi_static": config.prune_quasi_static,
            "segmenter": dataclasses.asdict(config.segmenter),
            "kinematics": dataclasses.asdict(config.kinematics),
            "recovery": dataclasses.asdict(config.recovery),
            "clean": dataclasses.asdict(config.clean),
            "captioner": config.captioner if config.captioner != "vlm" else f"vlm {config.vlm.model}",
        }
        if synchronization is not None:
            parameters["synchronizer"] = dataclasses.asdict(config.synchronizer)
        if balance is not None:
            parameters |= {
                name: dataclasses.asdict(getattr(config, name)) for name in ("cluster", "balancer")
            }
        views = {}
        for split, episodes in (("train", train), ("heldout", heldout)):
            if not episodes:
                continue
            sidecar = {"split": split, "parameters": parameters}
            with _progress(None, "events", config.quiet, f"carve {split}") as bar:
                result = carver(
                    source,
                    events,
                    partial / split,
                    episodes=episodes,
                    copies=copies if split == "train" else None,
                    sidecar=sidecar,
                    progress=bar.update,
                )
            if balance is not None:
                balance.mark(partial / split, balanced=split == "train")
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
        if recovery:
            summary["recovery"] = recovery
        summary["cleaning"] = cleaning
        if caption_stage.report is not None:
            summary["captioning"] = caption_stage.report
        if synchronization is not None:
            summary["synchronization"] = synchronization
        if balance is not None:
            summary["balance"] = balance.figures()
        (partial / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _output_root(out: OutputConfig) -> Path:
    if out.root is not None:
        return Path(out.root)
    if out.repo_id is None:
        raise ValueError("no output folder. Fix: pass --out.root=<folder> or --out.repo_id=<name>")
    from lerobot.utils.constants import HF_LEROBOT_HOME

    return HF_LEROBOT_HOME / out.repo_id


def _source_root(dataset: DatasetConfig) -> Path:
    if dataset.root is not None:
        return Path(dataset.root)
    if dataset.repo_id is None:
        raise ValueError(
            "no dataset. Fix: pass --dataset.root=<folder> or --dataset.repo_id=<name on the Hub>"
        )
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return Path(LeRobotDataset(dataset.repo_id, revision=dataset.revision).root)


def _progress(items: Any, unit: str, quiet: bool, name: str = "prepare", total: int | None = None) -> Any:
    from tqdm import tqdm

    return tqdm(items, unit=f" {unit}", desc=name, total=total, file=sys.stderr, disable=quiet)


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
    print_cleaning(summary["cleaning"])
    if "synchronization" in summary:
        print_synchronization(summary["synchronization"])
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
    print_recovery(summary.get("recovery", {}))
    if "balance" in summary:
        print_figures(summary["balance"])
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    for line in report_lines(summary.get("captioning")):
        print(line)
    print(f"{summary['seconds']:.2f} s, {summary['real_time_factor']:.0f} times real time -> {out}")
