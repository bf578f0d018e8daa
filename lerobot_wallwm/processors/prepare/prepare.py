# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare`: a LeRobotDataset in, its events and their train and held-out views out."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.language.instruction import report_lines as instruction_lines
from lerobot_wallwm.processors.balance.stage import print_figures
from lerobot_wallwm.processors.caption.report import report_lines
from lerobot_wallwm.processors.clean.cleaner import print_cleaning
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.stages import Annotate, Preparation, open_source, stages_of
from lerobot_wallwm.processors.recover.sampler import print_recovery
from lerobot_wallwm.processors.source.episodes import ACTION, STATE, SourceDataset, split_episodes
from lerobot_wallwm.processors.source.events import LEVELS
from lerobot_wallwm.processors.source.training_decoder import ask_training_decoder
from lerobot_wallwm.processors.synchronize.dataset import print_synchronization
from lerobot_wallwm.processors.view.disk_space import check_space, full_disk_explained, needed_space
from lerobot_wallwm.processors.view.statistics import CameraStatistics
from lerobot_wallwm.storage.atomic import atomic_folder
from lerobot_wallwm.storage.places import output_root, source_root
from lerobot_wallwm.storage.work_folder import work_folder


def prepare(config: PrepareConfig, annotate: Annotate | None = None) -> dict[str, Any]:
    """Makes event views of a dataset. Returns the summary that is also written to `summary.json`.

    `annotate` finds the events of an episode, for events that were found elsewhere; None segments here.

    Raises:
        DataError: The source cannot be used, or there is no room for the output; nothing has been written.
        FileExistsError: The output exists and `overwrite` is off.
        ValueError: A parameter is out of range.
    """
    started = time.perf_counter()
    config.check()
    out, root = output_root(config.out), source_root(config.dataset)
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"--out.root={out} and --dataset.root={root} overlap. Fix: write outside the source")
    source = open_source(config)
    ask_training_decoder(source)
    stages = stages_of(config, source, out, annotate)
    with (
        full_disk_explained(out),
        atomic_folder(out, overwrite=config.overwrite) as folder,
        work_folder(out, root) as journals,
    ):
        splits = split_episodes(source.episode_indices, config.heldout, config.seed)
        check_space(*needed_space(source, folder, splits, config.copy_videos), out, config.copy_videos)
        parameters = {name: value for stage in stages for name, value in stage.parameters().items()}
        prepared = Preparation(config, folder, source, journals, parameters, warnings=what_is_odd(source))
        reports = {stage.name: stage.run(prepared) for stage in stages}
        summary = summarise(prepared, time.perf_counter() - started)
        summary |= {name: report for name, report in reports.items() if report}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def what_is_odd(source: SourceDataset) -> list[str]:
    """A line for each thing in a dataset's files that is left out, invented or measured anew."""
    found = []
    if source.depth_keys:
        cameras = ", ".join(source.depth_keys)
        found.append(
            f"{cameras}: shows distances; its files go into the views, no step here and no wallwm policy reads it"
        )
    for key in (STATE, ACTION):
        if not source.names(key):
            found.append(f"{key}: meta/info.json names no dimensions; they are numbered from 0")
    if unknown := CameraStatistics(source).unknown:
        found.append(
            f"{', '.join(unknown)}: meta/stats.json knows nothing of it; measured from some pictures"
        )
    return found


def summarise(prepared: Preparation, seconds: float) -> dict[str, Any]:
    """What every run that took so many seconds says of its events; the stages' own reports are added to it."""
    config, source, events, lengths = prepared.config, prepared.source, prepared.events, prepared.lengths
    frozen = []
    for key in prepared.low:
        names = source.names(key)
        for d in np.flatnonzero(prepared.low[key] == prepared.high[key]):
            name = names[d] if d < len(names) else d
            # Normalising such a dimension divides by about zero when it moves at deployment.
            frozen.append(
                f"{key}[{name}] is constant over the whole dataset: a policy trained on it cannot learn it"
            )
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
        "embodiment": source.embodiment.lines() if source.embodiment else [],
        "events": {level: sum(event.level == level for event in events) for level in LEVELS},
        "labels": labels,
        "captions": dict(Counter(event.caption for event in own).most_common()),
        "templates": dict(Counter(event.template for event in own).most_common()),
        "instructions": source.instructions.report() | {"unsure": _unsure(prepared)},
        "annotated_episodes": len(prepared.annotations.spans),
        "warnings": frozen + prepared.warnings,
        "demonstration_seconds": round(duration, 2),
        "seconds": round(seconds, 3),
        "real_time_factor": round(duration / max(seconds, 1e-9), 1),
    }


def _unsure(prepared: Preparation) -> int:
    """Episodes whose instruction is understood, but not which of its steps a grasp belongs to."""
    read = prepared.source.instructions
    tasks = {e.event_id: e.caption for e in prepared.events if e.level == LEVELS[0]}
    unsure: set[int] = set()
    for event in prepared.events:
        if event.level == LEVELS[1] and "{task}" in event.template and "{object" not in event.template:
            task = tasks.get(event.parent, "")
            if event.label in ("pick", "place") and read(task).steps:
                unsure.add(event.episode_index)
    return len(unsure)


def print_summary(summary: dict[str, Any], out: Path | str) -> None:
    """Prints the summary as a table."""
    recorded = f"{summary['demonstration_seconds']:.0f} s at {summary['fps']:g} Hz"
    print(f"{summary['episodes']} episodes, {summary['frames']} frames, {recorded}")
    for line in summary["embodiment"]:
        print(f"action      {line}")
    print_cleaning(summary["cleaning"])
    if "synchronization" in summary:
        print_synchronization(summary["synchronization"])
    print("events      " + ", ".join(f"{level} {count}" for level, count in summary["events"].items()))
    print(f"\n{'label (' + summary['level'] + ')':<20}{'events':>8}{'median s':>10}{'min s':>8}{'max s':>8}")
    for label, row in summary["labels"].items():
        median, least, most = (row[f"seconds_{name}"] for name in ("median", "min", "max"))
        print(f"{label:<20}{row['events']:>8}{median:>10.2f}{least:>8.2f}{most:>8.2f}")
    captions = summary["captions"]
    print(f"\n{len(captions)} captions, {len(summary['templates'])} templates, e.g.")
    for caption in list(captions)[:8]:
        print(f"  {captions[caption]:>5}  {caption}")
    print()
    for split, view in summary["views"].items():
        pruned = f", {view['frames_pruned']} quasi-static frames left out" if view["frames_pruned"] else ""
        print(
            f"{split:<9}{view['events']} events of {view['episodes']} episodes, {view['frames']} frames, "
            f"{view['videos_linked']} videos linked, {view['videos_copied']} copied{pruned}"
        )
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    if "balance" in summary:
        print_figures(summary["balance"])
    print_recovery(summary.get("recovery", {}))
    for line in instruction_lines(summary["instructions"]):
        print(line)
    for line in report_lines(summary.get("captioning")):
        print(line)
    print(f"{summary['seconds']:.2f} s, {summary['real_time_factor']:.0f} times real time -> {out}")
    print(
        f"to train on it: lerobot-train --dataset.repo_id=local/events --dataset.root={Path(out) / 'train'} ..."
    )
