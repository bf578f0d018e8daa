# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The Human layer (paper 6.4): a person's corrections win over whatever set a boundary or a caption.

The tree stays nested and gapless because a boundary is a frame, shared by all levels that it bounds: moving it moves
all of them, one that is added cuts finer levels too, and one that is deleted joins coarser levels too. What a moved boundary
passes of finer levels gives way; what it may not pass is an error that names it. A file's captions are set first, then
boundaries are deleted, moved and added.

The corrections of a file (`wallwm inspect` exports it) are a set: their order does not matter. Every frame in it refers to the
event table *before* any correction, except that of a new boundary, which says where it shall be once all others are deleted
and moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lerobot_wallwm.language.instruction import Instructions, slot_template
from lerobot_wallwm.processors.source.episodes import SourceDataset, dataset_fingerprint
from lerobot_wallwm.processors.source.events import LEVELS, Event, by_episode
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.json_file import read_json_as

HUMAN = "human"
_STALE = "prepare with the parameters that the page was made with, or make the page again"
_FIX = "export the file again with `wallwm inspect`, or correct this field"


def _one_line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("a caption is one line of printable text")
    return value


_Count = Annotated[int, Field(ge=0)]
_Inner = Annotated[int, Field(gt=0)]
_Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 _-]{0,39}$")]
_Caption = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_one_line)]
_Level = Literal["subtask", "action", "segment"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DatasetName(_Model):
    """Which dataset was corrected. The fingerprint decides; the name is for people."""

    name: str = ""
    fingerprint: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class BoundaryMove(_Model):
    """Moves the boundary at frame `old` to frame `new`; `new == old` confirms it.

    A boundary of a level is also one of every finer level, so the coinciding boundaries of parents and children move
    with it. `level` says how far it may go: not past the next boundary of `level` or of a coarser one; events of finer
    levels that lie wholly in the frames it passes give way.
    """

    kind: Literal["boundary"] = "boundary"
    episode: _Count
    level: _Level
    old: _Inner
    new: _Inner


class BoundaryInsert(_Model):
    """Cuts the event of a level that holds frame `at` in two, and with it every event of finer levels that holds it.

    A frame that bounds finer levels already becomes a boundary of this one too. What begins there keeps the caption that it
    had, or gets `caption` and `label` at this level.
    """

    kind: Literal["insert"] = "insert"
    episode: _Count
    level: _Level
    at: _Inner
    caption: _Caption | None = None
    label: _Label | None = None


class BoundaryDelete(_Model):
    """Joins the events of a level that meet at frame `at`, and with them those of coarser levels that meet there.

    The earlier event's caption stays. Finer levels keep their boundary there; deleted at level segment, it is gone.
    """

    kind: Literal["delete"] = "delete"
    episode: _Count
    level: _Level
    at: _Inner


class CaptionEdit(_Model):
    """Gives the event `[start, end)` of a level another caption and, where `label` is given, another label."""

    kind: Literal["caption"] = "caption"
    episode: _Count
    level: Literal["task", "subtask", "action", "segment"]
    start: _Count
    end: _Inner
    old: str = ""
    new: _Caption
    label: _Label | None = None


Correction = BoundaryMove | BoundaryInsert | BoundaryDelete | CaptionEdit


class Corrections(_Model):
    """The whole file."""

    format: Literal["wallwm-corrections"]
    format_version: Literal[1]
    dataset: DatasetName
    corrections: list[Annotated[Correction, Field(discriminator="kind")]]


class HumanLayer:
    """Applies corrections files to events.

    `layer(events)` takes events of any number of episodes and returns them corrected. Ids stay; those of events that gave
    way or were joined to another are missing afterwards, and new events get ids beyond the greatest.

    Events whose start a person moved, confirmed or added, and events a person recaptioned, get source `human` and confidence 1.

    Args:
        paths: One corrections file or several. Each refers to the events as the file before it left them, so that a
            second round of corrections can follow the first.
        source: The dataset; where given, a file made for another one is refused.

    Raises:
        DataError: A file cannot be read, breaks the schema, or was made for another dataset.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], source: SourceDataset | None = None) -> None:
        self.read = Instructions() if source is None else source.instructions
        self.files: list[tuple[Path, dict[int, list[Correction]]]] = []
        for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
            content = read_json_as(path, Corrections, _FIX, ("boundary", "insert", "delete", "caption"))
            if source is not None:
                _check_dataset(path, content, source)
            items: dict[int, list[Correction]] = defaultdict(list)
            for item in content.corrections:
                items[item.episode].append(item)
            self.files.append((path, items))

    def __call__(self, events: Sequence[Event]) -> list[Event]:
        """The events with all files applied; see the class.

        Raises:
            DataError: A correction names a boundary or event that is not there, contradicts another, or passes a
                boundary that it may not pass.
        """
        groups = by_episode(events)
        ids = count(max((event.event_id for event in events), default=-1) + 1)
        for path, corrections in self.files:
            for episode in [index for index in groups if index in corrections]:
                groups[episode] = _correct_episode(
                    groups[episode], corrections[episode], path, ids, self.read
                )
        return [event for group in groups.values() for event in group]

    def counts(self) -> dict[str, int]:
        """How many boundaries and captions the files correct, for the summary."""
        items = [item for _, own in self.files for group in own.values() for item in group]
        kinds = [type(item) for item in items]
        return {
            "files": len(self.files),
            "episodes": len({item.episode for item in items}),
            "boundaries": kinds.count(BoundaryMove),
            "added": kinds.count(BoundaryInsert),
            "deleted": kinds.count(BoundaryDelete),
            "captions": kinds.count(CaptionEdit),
        }


def _check_dataset(path: Path, content: Corrections, source: SourceDataset) -> None:
    if content.dataset.fingerprint != dataset_fingerprint(source):
        name = content.dataset.name or "without a name"
        since = "or episodes were added, removed or renamed since"
        problem = f"is of another dataset ({name}), not of {source.root.name}, {since}"
        fix = "pass the corrections that were made for this dataset, or make the page again"
        raise DataError(path, "dataset.fingerprint", problem, fix)
    unknown = sorted({item.episode for item in content.corrections} - set(source.episode_indices))
    if unknown:
        problem = f"names episode {unknown[0]}, which is not in the dataset"
        raise DataError(path, "corrections.episode", problem, "correct that field")


def _correct_episode(
    events: Sequence[Event], items: Sequence[Correction], path: Path, ids: Iterator[int], read: Instructions
) -> list[Event]:
    """One episode with one file's corrections."""
    corrected = _edit_captions(events, [i for i in items if isinstance(i, CaptionEdit)], path, read)
    corrected = _delete_boundaries(corrected, [i for i in items if isinstance(i, BoundaryDelete)], path)
    corrected = _move_boundaries(corrected, [i for i in items if isinstance(i, BoundaryMove)], path)
    return _add_boundaries(corrected, [i for i in items if isinstance(i, BoundaryInsert)], path, ids, read)


def _depths(events: Sequence[Event]) -> dict[int, int]:
    """Each interior boundary's frame, and the rank of the coarsest level that it bounds."""
    depth: dict[int, int] = {}
    for event in events:
        if event.start > 0:
            depth[event.start] = min(depth.get(event.start, len(LEVELS)), LEVELS.index(event.level))
    return depth


def _refuse_unknown(
    depth: Mapping[int, int], item: BoundaryMove | BoundaryDelete, at: int, path: Path
) -> None:
    """Refuses a correction of a boundary that the level does not have."""
    rank = LEVELS.index(item.level)
    if depth.get(at, len(LEVELS)) > rank:
        own = [frame for frame, level in depth.items() if level <= rank]
        near = f"the nearest is at {min(own, key=lambda f: abs(f - at))}" if own else "it has none"
        where = f"episode {item.episode}, {item.level} boundary {at}"
        raise DataError(path, where, f"is not a boundary of that level; {near}", _STALE)


def _delete_boundaries(events: Sequence[Event], deleted: Sequence[BoundaryDelete], path: Path) -> list[Event]:
    depth = _depths(events)
    for item in deleted:
        _refuse_unknown(depth, item, item.at, path)
    # Deleted at two levels, the finer one says how far it is gone.
    gone: dict[int, int] = {}
    for item in deleted:
        gone[item.at] = max(gone.get(item.at, 0), LEVELS.index(item.level))
    kept: list[Event] = []
    last: dict[str, int] = {}  # level -> where its latest event is
    for event in sorted(events, key=lambda e: (e.start, LEVELS.index(e.level))):
        if event.start in gone and LEVELS.index(event.level) <= gone[event.start]:
            before = last[event.level]
            kept[before] = replace(kept[before], end=event.end)
        else:
            last[event.level] = len(kept)
            kept.append(event)
    return _in_their_parents(kept) if deleted else list(events)


def _add_boundaries(
    events: Sequence[Event],
    added: Sequence[BoundaryInsert],
    path: Path,
    ids: Iterator[int],
    read: Instructions,
) -> list[Event]:
    result = list(events)
    task_at = _task_finder(events, read)
    # From coarse to fine, so that what a coarse cut makes of finer levels is there when they are cut.
    for item in sorted(added, key=lambda i: (LEVELS.index(i.level), i.at)):
        rank, length = LEVELS.index(item.level), max(event.end for event in events)
        where = f"episode {item.episode}, new {item.level} boundary {item.at}"
        if not item.at < length:
            raise DataError(path, where, f"lies outside (0, {length})", "keep it inside the episode")
        cut: list[Event] = []
        for event in result:
            if LEVELS.index(event.level) < rank or not event.start <= item.at < event.end:
                cut.append(event)
                continue
            if event.start == item.at:
                if event.level == item.level:
                    raise DataError(path, where, "is a boundary of that level already", "leave it out")
                right = event
            else:
                cut.append(replace(event, end=item.at))
                right = replace(event, event_id=next(ids), start=item.at)
            if event.level == item.level:
                if item.caption is not None:
                    template = slot_template(item.caption, task_at(item.at))
                    right = replace(right, caption=item.caption, template=template)
                right = replace(right, label=item.label or right.label)
            cut.append(replace(right, confidence=1.0, source=HUMAN))
        result = cut
    if not added:
        return result
    return _in_their_parents(sorted(result, key=lambda e: (e.start, LEVELS.index(e.level))))


def _in_their_parents(events: Sequence[Event]) -> list[Event]:
    """The events, ordered by start and then from coarse to fine, each with the parent that it lies in."""
    current: dict[int, int] = {}
    result = []
    for event in events:
        rank = LEVELS.index(event.level)
        current[rank] = event.event_id
        result.append(replace(event, parent=current[rank - 1] if rank else -1))
    return result


def _task_finder(events: Sequence[Event], read: Instructions) -> Callable[[int], dict[str, str]]:
    """Gives the slots of the task that holds at a frame."""
    tasks = [event for event in events if event.level == LEVELS[0]]
    return lambda at: next((read(e.caption).slots for e in tasks if e.start <= at < e.end), {})


def _edit_captions(
    events: Sequence[Event], edits: Sequence[CaptionEdit], path: Path, read: Instructions
) -> list[Event]:
    task_at = _task_finder(events, read)
    wanted: dict[tuple[str, int, int], CaptionEdit] = {}
    places = {(event.level, event.start, event.end) for event in events}
    for edit in edits:
        place = (edit.level, edit.start, edit.end)
        where = f"episode {edit.episode}, {edit.level} [{edit.start}, {edit.end})"
        if place not in places:
            raise DataError(path, where, "is not an event of this dataset as it is segmented now", _STALE)
        other = wanted.setdefault(place, edit)
        if (other.new, other.label) != (edit.new, edit.label):
            raise DataError(path, where, "gets two different captions", "keep one of the two")
    result = []
    for event in events:
        found = wanted.get((event.level, event.start, event.end))
        if found is not None:
            template = slot_template(found.new, task_at(event.start))
            event = replace(event, caption=found.new, template=template, label=found.label or event.label)
            event = replace(event, confidence=1.0, source=HUMAN)
        result.append(event)
    return result


def _move_boundaries(events: Sequence[Event], moves: Sequence[BoundaryMove], path: Path) -> list[Event]:
    if not moves:
        return list(events)
    length = max(event.end for event in events)
    depth = _depths(events)
    target: dict[int, BoundaryMove] = {}
    for move in moves:
        where = f"episode {move.episode}, {move.level} boundary {move.old}"
        _refuse_unknown(depth, move, move.old, path)
        if not 0 < move.new < length:
            problem = f"moves to {move.new}, outside (0, {length})"
            raise DataError(path, where, problem, "keep it inside the episode")
        other = target.setdefault(move.old, move)
        if other.new != move.new:
            raise DataError(path, where, f"moves to both {other.new} and {move.new}", "keep one of the two")
        if LEVELS.index(move.level) < LEVELS.index(other.level):
            target[move.old] = move

    place = {frame: target[frame].new if frame in target else frame for frame in depth}
    for frame in depth:
        at = place[frame]
        passed = [
            move
            for move in target.values()
            if (frame < move.old and at >= move.new) or (frame > move.old and at <= move.new)
        ]
        for move in passed:
            if frame in target or depth[frame] <= LEVELS.index(move.level):
                where = f"episode {move.episode}, {move.level} boundary {move.old}"
                too = f", which moves to {at}" if frame in target else ""
                passes = f"would pass the {LEVELS[depth[frame]]} boundary at {frame}{too}"
                problem = f"moves to {move.new} and {passes}"
                raise DataError(path, where, problem, "leave at least one frame between the two")
        if passed:  # gives way: its event now begins where the moved boundary is
            right = [move.new for move in passed if move.old < frame]
            place[frame] = max(right) if right else min(move.new for move in passed)

    place |= {0: 0, length: length}
    moved = {move.new for move in target.values()}
    result = []
    for event in events:
        start, end = place[event.start], place[event.end]
        if start < end:
            if start in moved:
                event = replace(event, confidence=1.0, source=HUMAN)
            result.append(replace(event, start=start, end=end))
    return result
