# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm recover`: prints perturbed joint starts near recorded contact poses, to record recoveries from (paper 6.6).

The paper's ball lies in end-effector space. Without a URDF nobody here knows that space, so the ball lies in joint space
(our choice): a step of 5 degrees moves the fingers of a desk arm by 1 to 3 cm. Nothing here moves an arm: a person puts it
near a start with the leader arm, and `lerobot-record` records the way out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.source.episodes import STATE, SourceDataset
from lerobot_wallwm.processors.source.events import Event, read_events
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import DatasetConfig, source_root

DEGREES = 5.0  # radius of the ball; the paper gives none


@dataclass(frozen=True)
class PerturbedStart:
    """One start.

    Attributes:
        event: The contact.
        contact: (J,) recorded joint positions at the event's first frame, in the dataset's units.
        start: (J,) the same, moved within the ball and clamped to what the dataset has seen; grippers as recorded.
    """

    event: Event
    contact: np.ndarray
    start: np.ndarray


def perturbed_starts(
    source: SourceDataset,
    events: Iterable[Event],
    labels: Sequence[str] = ("grasp",),
    *,
    radius: float | None = None,
    starts: int = 10,
    seed: int = 0,
) -> tuple[list[str], list[PerturbedStart]]:
    """Draws starts around the contact poses of events.

    Args:
        source: The dataset.
        events: Its event table; actions with one of `labels` are contacts.
        radius: Of the ball in joint space, in the dataset's units, Euclidean norm; None for `DEGREES`, in radians if the
            joints are.
        starts: How many. Contacts are taken in a random order, each once before any twice.
        seed: The same seed gives the same starts.

    Returns:
        The joints' names (those of the state that end in `.pos`, or all where none does), and the starts.

    Raises:
        ValueError: A number is out of range.
        DataError: There is no such event, or the state holds no arm joint.
    """
    if radius is None:
        radius = DEGREES if unit_of(source) != "radians" else float(np.radians(DEGREES))
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"--radius must be above 0, got {radius}. Fix: leave it out for the default")
    if starts < 1:
        raise ValueError(f"--starts must be at least 1, got {starts}. Fix: 10 is the default")
    table = list(events)
    contacts = [event for event in table if event.level == "action" and event.label in labels]
    if not contacts:
        known = sorted({event.label for event in table if event.level == "action"})
        fix = f"pass --events= one or more of {','.join(known) or 'none, there is no action at all'}"
        raise DataError(source.root, f"events {','.join(labels)}", "occur nowhere in the dataset", fix)
    every = source.names(STATE)
    one = source.read(0, min_frames=1)
    width = one.state.shape[1]
    joints = [d for d, name in enumerate(every) if name.endswith(".pos")] or list(range(width))
    fixed = set(one.what.state_grippers)
    arm = [k for k, d in enumerate(joints) if d not in fixed]
    if not arm:
        problem = "holds no arm joint besides grippers"
        raise DataError(source.root, STATE, problem, "say which are with --embodiment")
    names = [every[d] if d < len(every) else f"joint_{d}" for d in joints]

    rng = np.random.default_rng(seed)
    rounds = -(-starts // len(contacts))
    order = np.concatenate([rng.permutation(len(contacts)) for _ in range(rounds)])[:starts]
    needed = {contacts[k].episode_index for k in order}
    low, high = np.full(len(joints), np.inf), np.full(len(joints), -np.inf)
    states: dict[int, np.ndarray] = {}
    for position, index in enumerate(source.episode_indices):
        state = source.read(position, min_frames=1).state[:, joints]
        low, high = np.minimum(low, state.min(axis=0)), np.maximum(high, state.max(axis=0))
        if index in needed:
            states[index] = state
    found = []
    for k in order:
        event, state = contacts[k], states[contacts[k].episode_index]
        if event.start >= len(state):
            problem = f"starts at frame {event.start}, but episode {event.episode_index} has {len(state)}"
            fix = "pass the event table of this very dataset"
            raise DataError(source.root, f"event_id {event.event_id}", problem, fix)
        direction = rng.normal(size=len(arm))
        offset = direction / np.linalg.norm(direction) * radius * rng.random() ** (1 / len(arm))
        contact = state[event.start].copy()
        start = contact.copy()
        start[arm] = np.clip(start[arm] + offset, low[arm], high[arm])
        found.append(PerturbedStart(event, contact, start))
    return names, found


@dataclass
class RecoverConfig:
    """`wallwm recover`."""

    # The recorded demonstrations.
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    # An event table (events.parquet of `wallwm prepare`); without it the dataset is segmented anew.
    table: Path | None = None
    # Labels of the contacts, with commas: grasp, release, ...
    events: str = "grasp"
    # Radius of the ball around a contact pose in joint space, in the dataset's units; without it 5 degrees, or as much in
    # radians where the joints are in radians. The paper gives none; our choice.
    radius: float | None = None
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
        radius=config.radius,
        starts=config.starts,
        seed=config.seed,
    )
    print_starts(names, starts, as_json=config.json, unit=unit_of(source))


def unit_of(source: SourceDataset) -> str:
    """The unit of the arm's joints, where the dataset's description knows one for all of them."""
    units = {
        dim.unit for dim in (source.embodiment.state if source.embodiment else ()) if dim.quantity == "angle"
    }
    return units.pop() if len(units) == 1 else ""


def print_starts(
    names: Sequence[str], starts: Sequence[PerturbedStart], as_json: bool = False, unit: str = ""
) -> None:
    """Prints the starts as a table, or one JSON object a line."""
    digits = 3 if unit == "radians" else 1
    if not as_json:
        joints = [name.removesuffix(".pos") for name in names]
        widths = [max(8, len(joint) + 1) for joint in joints]
        header = "".join(f"{joint:>{width}}" for joint, width in zip(joints, widths, strict=True))
        print(
            f"{'':>5}{'episode':>8}{'frame':>7}  {'event':<10}{header}   moved by{' (' + unit + ')' if unit else ''}"
        )
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
        values = "".join(
            f"{value:>{width}.{digits}f}" for value, width in zip(start.start, widths, strict=True)
        )
        print(
            f"{number:>5}{event.episode_index:>8}{event.start:>7}  {event.label:<10}{values}{moved:>11.{digits}f}"
        )


def _events(source: SourceDataset, config: RecoverConfig) -> list[Event]:
    from tqdm import tqdm

    segmenter = EventSegmenter(config.segmenter, config.kinematics)
    captioner, least = (
        EventCaptioner(config.kinematics, source.instructions),
        segmenter.min_frames(source.fps),
    )
    positions = tqdm(range(len(source)), desc="segment", unit=" episodes", leave=False)
    episodes = (source.read(position, least) for position in positions)
    return number_events([captioner(episode, segmenter(episode)) for episode in episodes])
