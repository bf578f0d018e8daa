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
from lerobot_wallwm.processors.dataset_card import command_line
from lerobot_wallwm.processors.disk_space import check_space, estimate_space, room_runs_out_clearly
from lerobot_wallwm.processors.episodes import ACTION, STATE, Episode, SourceDataset
from lerobot_wallwm.processors.events import LEVELS, Event, validate_events, write_events
from lerobot_wallwm.processors.kinematics import KinematicsConfig
from lerobot_wallwm.processors.places import DatasetConfig, OutputConfig, output_root, source_root
from lerobot_wallwm.processors.quasi_static import Motion, QuasiStaticPruner
from lerobot_wallwm.processors.scale_config import ScaleConfig
from lerobot_wallwm.processors.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.split import split_episodes
from lerobot_wallwm.processors.synchronize_dataset import print_synchronization, synchronize_for_prepare
from lerobot_wallwm.processors.synchronizer import SynchronizerConfig
from lerobot_wallwm.processors.vlm_config import VlmConfig
from lerobot_wallwm.processors.vlm_report import report_lines
from lerobot_wallwm.processors.vlm_stage import CaptionStage
from lerobot_wallwm.processors.work_folder import work_folder


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
    # What a robot could not have done, and what becomes of it.
    clean: CleanConfig = field(default_factory=CleanConfig)
    # Measures the lag between video and robot in each episode, mends it in the view, and leaves episodes out that are in
    # doubt (synchronizer.py). Off: it decodes every frame, and at deployment the camera is as late as it was in the
    # recording, so a policy that only reacts may be better off with the rows as they are.
    synchronize: bool = False
    # Clusters the events, and writes rare ones more often into the training view (balance_stage.py).
    balance: bool = False
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
    # Segmenting and captioning in shards (scale_out.py).
    scale: ScaleConfig = field(default_factory=ScaleConfig)


def annotator(config: PrepareConfig) -> Callable[[Episode], list[Event]]:
    """The steps that look at one episode alone: from an `Episode` to its events, ids counted from 0."""
    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    captioner = EventCaptioner(config.kinematics)
    return lambda episode: captioner(episode, segmenter(episode))


def prepare(
    config: PrepareConfig, annotate: Callable[[Episode], list[Event]] | None = None
) -> dict[str, Any]:
    """Cleans, segments, captions and carves a dataset. Returns the summary that is also written to `summary.json`.

    Args:
        config: See `PrepareConfig`.
        annotate: Replaces `annotator(config)`, for events that were found elsewhere.

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
        kinds = 2 if config.keyframes else 1  # of views
        check_space(estimate_space(source, partial, splits * kinds, copy_videos=config.copy_videos), partial)
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
        annotate = annotate or annotator(config)
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
        events = caption_stage(source, number_events(per_episode), partial, config.quiet)
        validate_events(events, lengths)
        write_events(events, partial / "events.parquet")

        train, heldout = split_episodes(source.episode_indices, config.heldout, config.seed)
        pruner = None
        if config.prune_quasi_static:
            pruner = QuasiStaticPruner(motion, config.prune_quasi_static, least)
        copy_videos = config.copy_videos
        carver = EventCarver(config.level, pruner, language=config.language, copy_videos=copy_videos)
        sampler = EventCarver(config.level, keyframes=config.keyframes, copy_videos=copy_videos)
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
        parameters = {
            "heldout": config.heldout,
            "seed": config.seed,
            "prune_quasi_static": config.prune_quasi_static,
            "segmenter": dataclasses.asdict(config.segmenter),
            "kinematics": dataclasses.asdict(config.kinematics),
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
            sidecar = {"split": split, "command": _command(config), "parameters": parameters}
            copies = balance.copies if balance is not None and split == "train" else None
            with _progress(None, "events", config.quiet, f"carve {split}") as bar:
                result = carver(
                    source,
                    events,
                    partial / split,
                    episodes=episodes,
                    copies=copies,
                    sidecar=sidecar,
                    progress=bar.update,
                )
            if config.keyframes:
                beside = partial / f"{split}_keyframes"
                sampler(source, events, beside, episodes=episodes, copies=copies, sidecar=sidecar)
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
        summary["cleaning"] = cleaning
        if caption_stage.report is not None:
            summary["captioning"] = caption_stage.report
        if synchronization is not None:
            summary["synchronization"] = synchronization
        if balance is not None:
            summary["balance"] = balance.figures()
        (partial / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _command(config: PrepareConfig) -> str:
    """The command for the card, without where things lie, how work was shared out, and the model's server and keys."""
    same = dataclasses.replace(config, out=OutputConfig(), scale=ScaleConfig(), quiet=False, overwrite=False)
    same.vlm = VlmConfig(model=config.vlm.model)
    return command_line(same, PrepareConfig())


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
    if "balance" in summary:
        print_figures(summary["balance"])
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    for line in report_lines(summary.get("captioning")):
        print(line)
    print(f"{summary['seconds']:.2f} s, {summary['real_time_factor']:.0f} times real time -> {out}")
