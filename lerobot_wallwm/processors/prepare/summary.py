# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The summary of `wallwm prepare`: counted, and printed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.balance.stage import print_figures
from lerobot_wallwm.processors.caption.report import report_lines
from lerobot_wallwm.processors.clean.dataset import print_cleaning
from lerobot_wallwm.processors.prepare.stages import Preparation
from lerobot_wallwm.processors.recover.sampler import print_recovery
from lerobot_wallwm.processors.source.events import LEVELS
from lerobot_wallwm.processors.synchronize.dataset import print_synchronization


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
        "events": {level: sum(event.level == level for event in events) for level in LEVELS},
        "labels": labels,
        "captions": dict(Counter(event.caption for event in own).most_common()),
        "templates": dict(Counter(event.template for event in own).most_common()),
        "annotated_episodes": len(prepared.annotations.spans),
        "warnings": frozen + prepared.warnings,
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
    print_recovery(summary.get("recovery", {}))
    for warning in summary["warnings"]:
        print(f"warning: {warning}")
    for line in report_lines(summary.get("captioning")):
        print(line)
    print(f"{summary['seconds']:.2f} s, {summary['real_time_factor']:.0f} times real time -> {out}")
