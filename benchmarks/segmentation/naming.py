# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether captions name what the expert was doing: its cube, its place and its verb, as shares of frames.

The expert's phases tell for every frame of recorded tables which cube it moved where (`python -m
lerobot_env_so101_sim.record --task Table-v0 --root DIR --episodes 40`). A caption is right about things if it names the cube of that step (or
its place, when the arm leaves it), and no other thing of the table by its colour; "it" and "the other cube" name nothing.
Reads the events of `wallwm prepare --out.root=DIR`, or cuts and names the episodes itself.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.harness.rows import CannotRunError, Row, Share
from lerobot_env_so101_sim.colours import CUBE_COLOURS, DISC_COLOURS
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import SourceDataset

# Labels that are right for a phase. A grasp that slipped is opened, and grasped again.
VERBS = {
    "reach": {"reach"},
    "descend": {"approach", "reach"},
    "close": {"grasp"},
    "lift": {"lift"},
    "move": {"move"},
    "lower": {"lower"},
    "open": {"release", "open"},
    "retreat": {"retreat"},
}
COLOURS = (*CUBE_COLOURS, *DISC_COLOURS)
# In these phases a caption that has a target should name the place.
PLACING = ("move", "lower")


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, required=True, help="recorded tables, a LeRobotDataset v3")
    parser.add_argument("--events", type=Path, help="events.parquet of wallwm prepare; default: made here")


def rows(args: Namespace) -> Iterator[Row]:
    phases = args.dataset.with_name(f"{args.dataset.name}_phases.parquet")
    if not phases.is_file():
        raise CannotRunError(f"{phases}: file is missing. Fix: record with --task Table-v0")
    truth = defaultdict(list)
    for row in pq.read_table(phases).to_pylist():
        if "object" not in row:
            raise CannotRunError(f"{phases}: column object is missing. Fix: record with --task Table-v0")
        truth[row["episode_index"]].append(row)
    tasks = {episode.index: episode.task for episode in SourceDataset.open(args.dataset)}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: Counter[str] = Counter()
    for episode, events in events_of(args).items():
        steps = f"{max(row['step'] for row in truth[episode]) + 1} steps"
        for phase in truth[episode]:
            for event in events:
                frames = min(phase["end"], event["end"]) - max(phase["start"], event["start"])
                if frames > 0:
                    found = judge(phase, event)
                    for group in ("all", steps):
                        counts[group].update(dict.fromkeys([*found, "frames"], frames))
                    if "wrong thing" in found:
                        wrong[
                            f"{tasks[episode]!r}: {event['caption']!r} for {phase['object']} > {phase['target']}"
                        ] += frames
    for group, count in sorted(counts.items()):
        cells: dict[str, Any] = {"instruction": group}
        for what in ("verb right", "thing right", "wrong thing", "nothing named", "both right"):
            cells[what] = count[what] / count["frames"]
        cells["place right, of move and lower"] = Share(count["place right"], count["placing"])
        cells["frames"] = count["frames"]
        yield Row("what captions name, shares of frames", cells)
    for example, frames in wrong.most_common(8):
        yield Row("most frequent wrong names", {"instruction, caption, truth": example, "frames": frames})


def judge(phase: dict[str, Any], event: dict[str, Any]) -> list[str]:
    """What holds of a caption while the expert was in a phase."""
    own = [phase["object"].split()[0], phase["target"].split()[0]]
    named = [word for word in event["caption"].lower().replace(",", " ").split() if word in COLOURS]
    found = []
    if event["label"] in VERBS[phase["phase"]]:
        found.append("verb right")
    if not named:
        found.append("nothing named")
    elif set(named) <= set(own) and (own[0] in named or phase["phase"] == "retreat"):
        found.append("thing right")
    else:
        found.append("wrong thing")
    if phase["phase"] in PLACING:
        found.append("placing")
        found += ["place right"] * (own[1] in named)
    return found + ["both right"] * ({"verb right", "thing right"} <= set(found))


def events_of(args: Namespace) -> dict[int, list[dict[str, Any]]]:
    """The action events of each episode."""
    events = defaultdict(list)
    if args.events:
        for row in pq.read_table(args.events).to_pylist():
            if row["level"] == "action":
                events[row["episode_index"]].append(row)
        return events
    segment, caption = EventSegmenter(), EventCaptioner()
    for episode in SourceDataset.open(args.dataset):
        for event in caption(episode, segment(episode)):
            if event.level == "action":
                kept = {
                    "start": event.start,
                    "end": event.end,
                    "label": event.label,
                    "caption": event.caption,
                }
                events[episode.index].append(kept)
    return events
