# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The segmenter, with one set of parameters, on 16 tasks of three simulators at 10, 20 and 80 Hz.

SO-101 pick and place (joint targets), robo-evals' five tasks and ten Meta-World tasks (steps of the end effector; see
tasks.py for what a phase is). Boundary F1 within 0.1 s (at least one frame), interior boundaries only, over all episodes
of a task; a task without interior boundaries (reach) scores the part of its episodes without a cut. Parameters were
chosen on seeds 0 to 9 and the even SO-101 episodes (`--tuning` prints those); the table is of seeds from 1000 and the
odd ones. The last table says how often a boundary of a given confidence is right. Fails below a mean of 0.80, or less
than 0.20 above the better of the two baselines on average. Needs `pip install "lerobot_policy_wallwm[bench]"`; `--quick`
takes SO-101 alone.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from benchmarks.harness.repo import DATASET, PHASES
from benchmarks.harness.rows import Row, Share, bar
from benchmarks.segmentation.score import (
    NEEDED_F1,
    NEEDED_MARGIN,
    BoundaryScore,
    boundary_score,
    cuts_of,
    tolerance_frames,
    true_boundaries,
)
from benchmarks.segmentation.tasks import META_WORLD, ROBO_EVALS, record_meta_world, record_robo_evals
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset

METHODS = ("ours, action events", "ours, cuts", "uniform (true number)", "gripper only")
SIMULATORS = ["so101", "robo-evals", "metaworld"]
BANDS = (0.25, 0.4, 0.6, 0.8, 0.95, 1.0)
QUICK = {"simulators": ["so101"]}
Labelled = list[tuple[Episode, list[int]]]


def flags(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--episodes", type=int, default=10, help="of each simulated task; failed ones drop out"
    )
    parser.add_argument("--tuning", action="store_true", help="score the seeds that chose the parameters")
    parser.add_argument("--simulators", nargs="+", choices=SIMULATORS, default=SIMULATORS)


def tasks(args: Namespace) -> Iterator[tuple[str, Labelled]]:
    """Name, and episodes with their true boundaries, of each task."""
    source, truth = SourceDataset.open(DATASET), true_boundaries(PHASES)
    own = [p for p, index in enumerate(source.episode_indices) if index % 2 == (0 if args.tuning else 1)]
    if "so101" in args.simulators:
        yield "so101 pick_place", [(source.read(p), truth[source.episode_indices[p]]) for p in own]
    first = 0 if args.tuning else 1000
    seeds = range(first, first + args.episodes)
    for task in ROBO_EVALS if "robo-evals" in args.simulators else ():
        yield f"robo-evals {task}", record_robo_evals(task, seeds)
    for task in META_WORLD if "metaworld" in args.simulators else ():
        yield f"metaworld {task}", record_meta_world(task, seeds)


def confidences(episode: Episode, true: list[int]) -> list[tuple[float, bool]]:
    """Confidence of each cut, and whether it is one of the true boundaries, one to one."""
    tolerance, left = tolerance_frames(episode.fps), sorted(true)
    found = []
    for cut in EventSegmenter()(episode).cuts:
        near = next((t for t in left if abs(t - cut.frame) <= tolerance), None)
        found.append((cut.confidence, near is not None))
        if near is not None:
            left.remove(near)
    return found


def rows(args: Namespace) -> Iterator[Row]:
    means, bands = [], []
    for name, episodes in tasks(args):
        figures = {}
        for method in METHODS:
            score, uncut = BoundaryScore(), 0
            for episode, true in episodes:
                found = cuts_of(method, episode, true)
                score += boundary_score(found, true, tolerance_frames(episode.fps))
                uncut += not found
            figures[method] = score.f1 if score.true else uncut / max(len(episodes), 1)
        bands += [pair for episode, true in episodes for pair in confidences(episode, true)]
        means.append(list(figures.values()))
        true_count = sum(len(true) for _, true in episodes)
        yield Row("boundary F1", {"task": name, "episodes": len(episodes), "true": true_count, **figures})
    mean = np.mean(means, axis=0)
    yield Row("boundary F1", {"task": "mean of tasks", **dict(zip(METHODS, mean, strict=True))})
    for low, high in pairwise(BANDS):
        inside = [hit for confidence, hit in bands if low <= confidence < high or confidence == high == 1]
        right = Share(sum(inside), len(inside))
        yield Row("cuts by confidence", {"confidence": f"{low:.2f} to {high:.2f}", "right": right})
    yield bar("mean F1", mean[0], NEEDED_F1)
    yield bar("F1 above the better baseline", mean[0] - max(mean[2], mean[3]), NEEDED_MARGIN)
