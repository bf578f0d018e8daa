# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm recover`: prints perturbed starts near recorded contacts.

Nothing here moves an arm: a person puts it near a start with the leader arm, and `lerobot-record` records the way out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.recover.starts import PerturbedStart, perturbed_starts
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event, read_events
from lerobot_wallwm.storage.places import DatasetConfig, source_root


@dataclass
class RecoverConfig:
    """`wallwm recover`."""

    # The recorded demonstrations.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # An event table (events.parquet of `wallwm prepare`); without it the dataset is segmented anew.
    table: Path | None = None
    # Labels of the contacts, with commas: grasp, release, ...
    events: str = "grasp"
    # Radius of the ball around a contact pose in joint space, in the dataset's units. The paper gives none; our choice.
    radius_degrees: float = 5.0
    # How many starts.
    starts: int = 10
    # Of the draw.
    seed: int = 0
    # Print JSON lines instead of a table.
    json: bool = False
    # Parameters of the cuts.
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    # How state and action are read.
    kinematics: KinematicsConfig = field(default_factory=KinematicsConfig)


def recover(config: RecoverConfig) -> None:
    """Prints the starts.

    Raises:
        DataError: The dataset, or the event table, cannot be used.
        ValueError: A flag is out of range.
    """
    source = SourceDataset.open(source_root(config.dataset))
    names, starts = perturbed_starts(
        source,
        read_events(config.table) if config.table else _events(source, config),
        [label.strip() for label in config.events.split(",") if label.strip()],
        radius=config.radius_degrees,
        starts=config.starts,
        seed=config.seed,
        config=config.kinematics,
    )
    print_starts(names, starts, as_json=config.json)


def print_starts(names: Sequence[str], starts: Sequence[PerturbedStart], as_json: bool = False) -> None:
    """Prints the starts as a table, or one JSON object a line."""
    if not as_json:
        joints = [name.removesuffix(".pos") for name in names]
        widths = [max(8, len(joint) + 1) for joint in joints]
        header = "".join(f"{joint:>{width}}" for joint, width in zip(joints, widths, strict=True))
        print(f"{'':>5}{'episode':>8}{'frame':>7}  {'event':<10}{header}   moved by")
    for number, start in enumerate(starts, 1):
        event = start.event
        moved = float(np.linalg.norm(start.start - start.contact))
        if as_json:
            row = {
                "start": number,
                "episode_index": event.episode_index,
                "frame": event.start,
                "label": event.label,
                "caption": event.caption,
                "joints": {n: round(float(v), 3) for n, v in zip(names, start.start, strict=True)},
                "moved_by": round(moved, 3),
            }
            print(json.dumps(row, ensure_ascii=False))
            continue
        values = "".join(f"{value:>{width}.1f}" for value, width in zip(start.start, widths, strict=True))
        print(f"{number:>5}{event.episode_index:>8}{event.start:>7}  {event.label:<10}{values}{moved:>11.1f}")


def _events(source: SourceDataset, config: RecoverConfig) -> list[Event]:
    from tqdm import tqdm

    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    captioner, least = EventCaptioner(config.kinematics), segmenter.min_frames(source.fps)
    positions = tqdm(range(len(source)), desc="segment", unit=" episodes", leave=False)
    episodes = (source.read(position, least) for position in positions)
    return number_events([captioner(episode, segmenter(episode)) for episode in episodes])
