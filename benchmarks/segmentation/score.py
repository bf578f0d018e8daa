# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The segmenter against a scripted expert's phases on the committed demonstrations.

Boundary F1, one-to-one matching within 0.1 s (at least one frame), interior boundaries only. Parameters were chosen on
synthetic motion before this dataset existed, with even episodes at hand for tuning. Odd ones were held back from that,
but misses were seen and led to fixes; for a clean figure record fresh demonstrations (`python -m
lerobot_env_so101_sim.record --root DIR --episodes 20 --seed 70000`) and score those. The expert rests between its
phases, which suits this segmenter; "measured motion" is nearer to a real arm. Fails below an F1 of 0.80 on held-back
episodes, or less than 0.20 above uniform cuts that are told the true number of events.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.harness.repo import DATASET
from benchmarks.harness.rows import Row, bar
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.motion.kinematics import kinematics
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset

TOLERANCE_S = 0.1
NEEDED_F1, NEEDED_MARGIN = 0.80, 0.20
METHODS: tuple[str, ...] = ("ours, action events", "ours, cuts", "ours, measured motion")
METHODS += ("uniform (true number)", "gripper only")
SPLITS = ("tuning (even episodes)", "held back (odd episodes)")


@dataclass(frozen=True)
class BoundaryScore:
    """Counts over any number of episodes; add scores to pool them."""

    hits: int = 0
    found: int = 0
    true: int = 0

    def __add__(self, other: "BoundaryScore") -> "BoundaryScore":
        return BoundaryScore(self.hits + other.hits, self.found + other.found, self.true + other.true)

    @property
    def precision(self) -> float:
        return self.hits / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.hits / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.hits / (self.found + self.true) if self.found + self.true else 0.0

    def cells(self) -> dict[str, float]:
        """Of a benchmark's row."""
        figures = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        return {**figures, "found": self.found, "true": self.true}


def tolerance_frames(fps: float, seconds: float = TOLERANCE_S) -> int:
    """The tolerance in whole frames, rounded down, at least one."""
    return max(1, int(seconds * fps + 1e-9))


def boundary_score(found: Sequence[int], true: Sequence[int], tolerance: int) -> "BoundaryScore":
    """Matches boundaries one to one within `tolerance` frames, as many as possible.

    Only interior boundaries belong here: an episode's two ends are always right. Walking both lists in order and
    pairing the earliest that fit is a maximum matching, because all tolerances are equal.
    """
    found, true = sorted(found), sorted(true)
    hits = i = j = 0
    while i < len(found) and j < len(true):
        if abs(found[i] - true[j]) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return BoundaryScore(hits, len(found), len(true))


def uniform_cuts(length: int, events: int) -> list[int]:
    """Interior boundaries of `events` equal parts."""
    return [round(length * i / events) for i in range(1, events)]


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, default=DATASET)
    parser.add_argument("--phases", type=Path, help="ground truth; default: beside the dataset")


def true_boundaries(path: Path) -> dict[int, list[int]]:
    """Interior boundaries of each episode: where every phase but the first starts."""
    table = pq.read_table(path)
    bounds: dict[int, list[int]] = {}
    for episode, start in zip(table["episode_index"].to_pylist(), table["start"].to_pylist(), strict=True):
        bounds.setdefault(episode, []).append(start)
    return {episode: sorted(starts)[1:] for episode, starts in bounds.items()}


def cuts_of(method: str, episode: Episode, true: list[int]) -> list[int]:
    """Interior boundaries that a method finds."""
    if method == "uniform (true number)":
        return uniform_cuts(len(episode), len(true) + 1)
    if method == "gripper only":
        ends = {f for s in kinematics(episode).switches for f in (s.start, s.end)}
        return sorted(f for f in ends if 0 < f < len(episode))
    if (
        method == "ours, measured motion"
    ):  # as if commands had not been recorded: with lag and execution noise
        episode = replace(episode, action=np.vstack([episode.state[1:], episode.state[-1:]]))
    segmentation = EventSegmenter()(episode)
    if method == "ours, cuts":
        return segmentation.frames("action")
    return [e.start for e in EventCaptioner()(episode, segmentation) if e.level == "action" and e.start > 0]


def rows(args: Namespace) -> Iterator[Row]:
    phases = args.phases or args.dataset.with_name(f"{args.dataset.name}_phases.parquet")
    source, truth = SourceDataset.open(args.dataset), true_boundaries(phases)
    tolerance = tolerance_frames(source.fps)
    scores = {(split, method): BoundaryScore() for split in SPLITS for method in METHODS}
    counts = dict.fromkeys(SPLITS, 0)
    for episode in source:
        split = SPLITS[episode.index % 2]
        counts[split] += 1
        for method in METHODS:
            true = truth[episode.index]
            scores[split, method] += boundary_score(cuts_of(method, episode, true), true, tolerance)
    for (split, method), score in scores.items():
        yield Row(f"{split}: {counts[split]} episodes", {"method": method, **score.cells()})
    ours, uniform = scores[SPLITS[1], METHODS[0]].f1, scores[SPLITS[1], "uniform (true number)"].f1
    yield bar("F1, held back", ours, NEEDED_F1)
    yield bar("F1 above uniform cuts, held back", ours - uniform, NEEDED_MARGIN)
