# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The segmenter on WGO-Bench's robot episodes, whose rows carry robot states beside people's segments.

`macrodata/WGO-Bench` (CC-BY-NC-SA-4.0) has no actions: what the state does next stands for them, so that captions and cuts are of
motion seen. `perception_state` is read as it comes: every list of numbers in it with a value a frame is a channel. Rows without
states (people's hands) are left out and counted. Videos are not downloaded, and nothing is kept.

Its authors publish no scoring code. Ours: predicted and annotated segments matched one to one by falling intersection over
union, those of at least 0.5 count, pooled over episodes; and boundaries inside an episode found within 0.1 and 0.5 s. Uniform
cuts are told the true number. Its segments are subtasks ("pick up the cup"), which our level `subtask` means, too.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.harness.rows import CannotRunError, Row
from benchmarks.segmentation.score import BoundaryScore, boundary_score, tolerance_frames, uniform_cuts
from benchmarks.segmentation.two_arms import described
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode

REMOTE = "datasets/macrodata/WGO-Bench/data/annotations.parquet"
COLUMNS = ["id", "instruction", "segments", "perception_state"]
LEVELS = ("subtask", "action")
LEAST_IOU, TOLERANCES_S = 0.5, (0.1, 0.5)
# What a channel of times is called; the rest are poses.
_TIME = ("time", "stamp", "sec")


def flags(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--file", type=Path, help="a copy of data/annotations.parquet; default: read from the Hub"
    )


def channels(state: Any, name: str = "") -> dict[str, np.ndarray]:
    """Every list of numbers of a nested struct by the names on the way to it, ``(T,)`` each; lists of lists by column."""
    found: dict[str, np.ndarray] = {}
    if isinstance(state, Mapping):
        for key, value in state.items():
            found |= channels(value, f"{name}.{key}".strip("."))
    elif isinstance(state, list) and state and isinstance(state[0], Mapping):
        for key in state[0]:
            found |= channels([row.get(key) for row in state], f"{name}.{key}".strip("."))
    elif isinstance(state, list) and state and not isinstance(state[0], str):
        try:
            values = np.array([np.nan if v is None else v for v in state], float)
        except (TypeError, ValueError):
            return found
        columns = values.reshape(len(values), -1).T
        found = {name if len(columns) == 1 else f"{name}_{i}": column for i, column in enumerate(columns)}
    return found


def episode_of(row: Mapping[str, Any], index: int) -> Episode | None:
    """A row's states as an episode; None for one without."""
    found = channels(row["perception_state"])
    length = Counter(len(v) for v in found.values()).most_common(1)[0][0] if found else 0
    whole = {name: v for name, v in found.items() if len(v) == length and np.isfinite(v).all()}
    times = next(
        (v for name, v in whole.items() if any(w in name.lower().split(".")[-1] for w in _TIME)), None
    )
    poses = {name: v for name, v in whole.items() if not any(w in name.lower().split(".")[-1] for w in _TIME)}
    if length < 4 or not poses:
        return None
    seconds = times[-1] - times[0] if times is not None else max(s["end_sec"] for s in row["segments"])
    fps = (length - 1) / float(seconds)
    state, names = np.stack(list(poses.values()), 1), tuple(poses)
    action = np.vstack([state[1:], state[-1:]])
    return Episode(index, row["instruction"] or "", fps, state, action, names, names)


def overlaps(found: Sequence[int], true: Sequence[int]) -> int:
    """How many segments between such edges match one to one with enough in common."""
    pairs = []
    for i, (a, b) in enumerate(pairwise(found)):
        for j, (c, d) in enumerate(pairwise(true)):
            both = min(b, d) - max(a, c)
            pairs.append((both / (max(b, d) - min(a, c)), i, j))
    used: tuple[set[int], set[int]] = (set(), set())
    for iou, i, j in sorted(pairs, reverse=True):
        if iou >= LEAST_IOU and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    return len(used[0])


def rows(args: Namespace) -> Iterator[Row]:
    try:
        if args.file is None:
            from huggingface_hub import HfFileSystem

            with HfFileSystem().open(REMOTE) as remote:
                table = pq.read_table(remote, columns=COLUMNS).to_pylist()
        else:
            table = pq.read_table(args.file, columns=COLUMNS).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        fix = "run where the Hub can be reached (HF_HUB_OFFLINE=0), or --file=annotations.parquet"
        raise CannotRunError(f"WGO-Bench cannot be read: {error}. Fix: {fix}") from error
    groups: dict[str, list[tuple[Episode, list[int]]]] = defaultdict(list)
    without = 0
    for index, row in enumerate(table):
        if (episode := episode_of(row, index)) is None:
            without += 1
            continue
        starts = [round(segment["start_sec"] * episode.fps) for segment in row["segments"]]
        edges = sorted({start for start in starts if 0 < start < len(episode)})
        groups[str(row["id"]).split("_")[0]].append((episode, edges))
    yield Row("rows", {"with states": len(table) - without, "without, left out": without})
    for name, own in groups.items():
        what = described([episode for episode, _ in own])
        for method in (*LEVELS, "uniform (true number)"):
            scores, matched = {s: BoundaryScore() for s in TOLERANCES_S}, BoundaryScore()
            for plain, true in own:
                episode = replace(plain, embodiment=what)
                found = uniform_cuts(len(episode), len(true) + 1)
                if method in LEVELS:
                    events = EventCaptioner()(episode, EventSegmenter()(episode))
                    found = sorted({e.start for e in events if e.level == method} - {0})
                for seconds in TOLERANCES_S:
                    near = tolerance_frames(episode.fps, seconds)
                    scores[seconds] += boundary_score(found, true, near)
                edges = ([0, *cuts, len(episode)] for cuts in (found, true))
                matched += BoundaryScore(overlaps(*edges), len(found) + 1, len(true) + 1)
            cells = {f"boundary F1, {seconds} s": score.f1 for seconds, score in scores.items()}
            about = {"from": name, "episodes": len(own), "method": method}
            yield Row("segments", {**about, "F1 at IoU 0.5": matched.f1, **cells})
