# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The data that a check runs on, a held-out view or whole episodes: its events without images, and observations with images."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lerobot_wallwm.check.measure.baselines import EventRows, with_hold
from lerobot_wallwm.embodiment.dataset import describe
from lerobot_wallwm.embodiment.description import Embodiment
from lerobot_wallwm.language.view_events import has_events, split_of as split_of_events, view_rows
from lerobot_wallwm.storage.errors import DataError

# Observations of an event at least, so that not its keyframe alone is judged (our choice).
PER_EVENT = 3


@dataclass(frozen=True)
class Anchor:
    """One observation inside one event."""

    event: int  # index of the event in its view
    offset: int  # frames from the event's start
    row: int


def read_event_rows(root: str | Path, episodes: Sequence[int] | None = None) -> list[EventRows]:
    """Events of a view in its order, copies left out; of a dataset that was not carved, its episodes.

    With ``episodes`` only those of these numbers.
    """
    root = Path(root)
    meta = view_rows(root)
    columns = ["observation.state", "action", "task_index"]
    tables = []
    for file in sorted(root.glob("data/*/*.parquet")):
        there = set(pq.read_schema(file).names)
        tables.append(pq.read_table(file, columns=[name for name in columns if name in there]))
    rows = sum(len(table) for table in tables)

    def column(key: str) -> np.ndarray:
        if key not in tables[0].column_names:
            return np.zeros((rows, 0))  # a policy may do without a state
        parts = [np.stack(t[key].to_numpy(zero_copy_only=False)) for t in tables]
        return np.concatenate(parts).astype(np.float64).reshape(rows, -1)

    state, action, task = (column(key) for key in columns)
    named = _tasks(root)
    events = []
    for row in meta:
        if row.get("wallwm/copy", 0) or (episodes is not None and row["episode_index"] not in episodes):
            continue
        part = slice(row["dataset_from_index"], row["dataset_to_index"])
        caption, source = row["tasks"][0], row.get("wallwm/source_episode", row["episode_index"])
        event = EventRows(caption, row.get("wallwm/template", ""), state[part], action[part], part.start)
        told: dict[str, Any] = {"kind": row.get("wallwm/label", "")}
        told["instruction"] = row.get("wallwm/instruction", caption)
        if len(row["tasks"]) > 1 and task.shape[1]:
            told["tasks"] = tuple(named.get(int(index), caption) for index in task[part, 0])
        events.append(replace(event, source=source, start=row.get("wallwm/start", 0), **told))
    return events


def _tasks(root: Path) -> dict[int, str]:
    """Task strings by their index."""
    file = root / "meta" / "tasks.parquet"
    if not file.is_file():
        return {}
    table = pq.read_table(file).to_pydict()
    texts = next(values for name, values in table.items() if name != "task_index")
    return dict(zip(table["task_index"], texts, strict=True))


def split_of(root: Path) -> str | None:
    """Which side of the split a carved view is; None where nothing says so."""
    try:
        told = json.loads((root / "meta" / "wallwm.json").read_text(encoding="utf-8")).get("split")
    except (OSError, ValueError, AttributeError):
        told = None
    return told or split_of_events(view_rows(root))


def source_episodes(root: str | Path) -> list[int]:
    """Episodes of the source that a view was carved from."""
    return sorted({row["wallwm/source_episode"] for row in view_rows(Path(root))})


def spread_anchors(events: Sequence[EventRows], per_event: int) -> list[Anchor]:
    """At most ``per_event`` anchors at equal distances from each event's keyframe on; short events get fewer."""
    anchors = []
    for index, event in enumerate(events):
        offsets = sorted({len(event.action) * i // per_event for i in range(per_event)})
        anchors += [Anchor(index, offset, event.first_row + offset) for offset in offsets]
    return anchors


def thin(anchors: Sequence[Anchor], at_most: int) -> list[Anchor]:
    """At most so many anchors, evenly spaced over the list, the first included."""
    if len(anchors) <= at_most:
        return list(anchors)
    return [anchors[i * len(anchors) // at_most] for i in range(at_most)]


def open_view(root: str | Path, config: Any, pictures_ahead: bool = True) -> Any:
    """The view as a ``LeRobotDataset`` with the windows that a policy's configuration asks for.

    ``root`` is that of the dataset it was carved from for windows centred on the observation. ``pictures_ahead`` decodes
    the future pictures, too, which acting never sees.
    """
    from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata

    name = f"local/{Path(root).name}"
    meta = LeRobotDatasetMetadata(name, root=root)
    chunked = getattr(config, "chunked", False)
    seen = list(config.observation_delta_indices or [0])
    if not pictures_ahead:
        # Chunks want their whole window: the present picture in place of later ones spares their decoding.
        seen = [min(i, 0) for i in seen] if chunked else [i for i in seen if i <= 0]
    if seen == [0]:
        return LeRobotDataset(name, root=root)
    windows = {key: [i / meta.fps for i in seen] for key in meta.camera_keys}
    # Later states of an event are never read; the reader of chunks finds the observed one among all.
    past = chunked or not pictures_ahead
    windows["observation.state"] = [i / meta.fps for i in seen] if past else [0.0]
    windows["action"] = [i / meta.fps for i in config.action_delta_indices]
    return LeRobotDataset(name, root=root, delta_timestamps=windows)


@dataclass
class HeldOut:
    """A dataset without its images."""

    root: Path
    meta: Any
    events: list[EventRows]  # events, or whole episodes where `carved` is false
    carved: bool  # whether it is a view that `wallwm prepare` wrote
    joints: list[str]  # names of the action dimensions, for people
    embodiment: Embodiment | None = None  # what an action is; None where there is no state
    unknown: str = ""  # why the events of whole episodes could not be found

    @property
    def sources(self) -> list[int]:
        """Source episodes, in order."""
        return sorted({event.source for event in self.events})

    @property
    def frames(self) -> int:
        """Frames of all events."""
        return sum(len(event.action) for event in self.events)

    def names(self, feature: str) -> list[str]:
        """Names of a feature's dimensions; empty where the dataset has none."""
        names = self.meta.features.get(feature, {}).get("names")
        if isinstance(names, dict):
            names = next((v for v in names.values() if isinstance(v, list | tuple)), None)
        width = int(np.prod(self.meta.features[feature]["shape"])) if names else 0
        usable = isinstance(names, list | tuple) and len(names) == width
        return [str(name) for name in names] if usable and names else []

    def column(self, feature: str) -> np.ndarray:
        """All rows of ``state`` or ``action``, ``(frames, D)``."""
        return np.concatenate([getattr(event, feature) for event in self.events])

    @property
    def unit(self) -> str:
        """What a joint's numbers are, where they show it: an SO arm beyond 100 in a joint can only be in degrees."""
        robot = str(self.meta.robot_type or "")
        if not robot.startswith(("so100", "so101", "so_")) or "gripper" not in self.joints[-1]:
            return "dataset units"
        arm, gripper = np.split(self.column("action"), [-1], axis=1)
        degrees = np.abs(arm).max() > 101 and gripper.min() >= -5 and gripper.max() <= 105
        return "degrees, gripper 0 to 100" if degrees else "dataset units"

    @property
    def scale(self) -> np.ndarray:
        """A hundredth of each action dimension's range ``(D,)``: divided by it, degrees, metres and ticks can be averaged.

        NaN for what never moves in these data, which has no range and is left out of means.
        """
        span = np.ptp(self.column("action"), axis=0)
        return np.where(span > 0, span / 100, np.nan)

    @property
    def grippers(self) -> list[int]:
        """Action dimensions that open and close."""
        return [] if self.embodiment is None else self.embodiment.grippers


Spans = list[tuple[int, int, str]]


def require_dataset(root: Path, shown: str) -> None:
    """Raises DataError where there is no dataset; ``shown`` is how the user named it."""
    if not (root / "meta" / "info.json").is_file():
        inside = [name for name in ("heldout", "train") if (root / name / "meta" / "info.json").is_file()]
        fix = "pass the folder of a LeRobotDataset v3, such as the heldout view of `wallwm prepare`"
        raise DataError(shown, "meta/info.json", "is missing", f"pass {shown}/{inside[0]}" if inside else fix)


def open_heldout(
    root: str | Path,
    shown: str,
    episodes: Sequence[int] | None = None,
    segment: Callable[[Path, Sequence[int]], dict[int, Spans]] | None = None,
) -> HeldOut:
    """Reads a dataset's tables.

    Args:
        root: Its folder.
        shown: How the user named it, for messages.
        episodes: Only these; None for all.
        segment: Finds the events ``(start, end, kind)`` of whole episodes, by episode; None leaves them unknown.

    Raises:
        DataError: It cannot be read; says what is missing and what to pass instead.
    """
    root = Path(root)
    require_dataset(root, shown)
    from lerobot.datasets import LeRobotDatasetMetadata

    meta = LeRobotDatasetMetadata(f"local/{root.name}", root=root)
    if "action" not in meta.features:
        fix = "record it; there is nothing else to compare with"
        raise DataError(f"{shown}/meta/info.json", "action", "is no feature", fix)
    named = {meta.get_video_file_path(e, key) for key in meta.video_keys for e in range(meta.total_episodes)}
    for missing in sorted(file for file in named if not (root / file).is_file())[:1]:
        raise DataError(shown, str(missing), "is missing", "copy the whole dataset, or carve the view again")
    try:
        events = read_event_rows(root, episodes)
    except (KeyError, ValueError, OSError) as error:
        fix = "copy the dataset again, or carve the view again"
        raise DataError(shown, "data", f"cannot be read ({error})", fix) from error
    if not events:
        which = "holds no episodes" if episodes is None else f"holds none of the episodes {list(episodes)}"
        raise DataError(shown, "meta/episodes", which, "pass a dataset that has some")
    lacking = sorted(set(episodes or ()) - set(range(meta.total_episodes)))
    if lacking:
        problem = f"is none of its {meta.total_episodes} (0 to {meta.total_episodes - 1})"
        raise DataError(shown, f"episode {lacking[0]}", problem, "name others with --dataset.episodes")
    carved = has_events(view_rows(root))
    heldout = HeldOut(root, meta, events, carved, [])
    names = heldout.names("action") or [f"joint {d + 1}" for d in range(events[0].action.shape[1])]
    heldout.joints = [name.removesuffix(".pos").replace("_", " ") for name in names]
    if "observation.state" in meta.features:
        heldout.embodiment = describe(root, meta.features, float(meta.fps))
    heldout.events = with_hold(events, heldout.embodiment)
    if segment is not None and not carved:
        _find_events(heldout, segment)
    return heldout


def _find_events(heldout: HeldOut, segment: Callable[[Path, Sequence[int]], dict[int, Spans]]) -> None:
    """Adds the events of whole episodes; where they cannot be found, the reason."""
    try:
        found = segment(heldout.root, heldout.sources)
    except ValueError as error:
        heldout.unknown = str(error)
        return
    heldout.events = [replace(e, spans=tuple(found.get(e.source, ()))) for e in heldout.events]


def choose_anchors(events: Sequence[EventRows], count: int, seed: int) -> list[Anchor]:
    """At most ``count`` observations spread over all events, keyframes included; the same seed chooses the same ones.

    Where the events have more, they are taken at equal distances, from a start that the seed draws.
    """
    anchors = spread_anchors(events, max(PER_EVENT, -(-count // len(events))))
    if len(anchors) <= count:
        return anchors
    step = len(anchors) / count
    first = float(np.random.default_rng(seed).uniform(0, step))
    return [anchors[int(first + i * step)] for i in range(count)]
