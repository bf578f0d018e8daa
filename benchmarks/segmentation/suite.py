# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Scores the segmenter, with one set of parameters, on 16 tasks of three simulators at 10, 20 and 80 Hz.

SO-101 pick and place (joint targets), robo-evals' five tasks and ten Meta-World tasks (steps of the end effector; see
segmentation_tasks.py for what a phase is). Boundary F1 within 0.1 s (at least one frame), interior boundaries only, over
all episodes of a task; a task without interior boundaries (reach) scores the part of its episodes without a cut.
Parameters were chosen on seeds 0 to 9 and the even SO-101 episodes (`--tuning` prints those); the table is of seeds from
1000 and the odd ones. The last part says how often a boundary of a given confidence is right. Exits with 1 below a mean of
0.80, or less than 0.20 above the better of the two baselines on average.

    pip install "lerobot_policy_wallwm[bench]"
    python benchmarks/segmentation_suite.py [--episodes 10] [--tuning]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from benchmarks.harness.repo import DATASET
from benchmarks.segmentation.boundary_score import BoundaryScore, boundary_score, tolerance_frames
from benchmarks.segmentation.score import cuts_of, true_boundaries
from benchmarks.segmentation.tasks import (
    META_WORLD,
    ROBO_EVALS,
    MissingPackageError,
    record_meta_world,
    record_robo_evals,
)
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset

METHODS = ("ours, action events", "ours, cuts", "uniform (true number)", "gripper only")
NEEDED_F1, NEEDED_MARGIN = 0.80, 0.20
BANDS = (0.25, 0.4, 0.6, 0.8, 0.95, 1.0)


def tasks(episodes: int, tuning: bool) -> Iterator[tuple[str, list[tuple[Episode, list[int]]]]]:
    """Name, and episodes with their true boundaries, of each task."""
    source = SourceDataset.open(DATASET)
    truth = true_boundaries(DATASET.with_name(f"{DATASET.name}_phases.parquet"))
    own = [p for p, index in enumerate(source.episode_indices) if index % 2 == (0 if tuning else 1)]
    yield "so101 pick_place", [(source.read(p), truth[source.episode_indices[p]]) for p in own]
    seeds = range(episodes) if tuning else range(1000, 1000 + episodes)
    for task in ROBO_EVALS:
        yield f"robo-evals {task}", record_robo_evals(task, seeds)
    for task in META_WORLD:
        yield f"metaworld {task}", record_meta_world(task, seeds)


def f1(score: BoundaryScore, uncut: float) -> float:
    """F1; the part of episodes without a cut where no boundary is true."""
    return score.f1 if score.true else uncut


def confidences(episode: Episode, true: list[int]) -> list[tuple[float, bool]]:
    """Confidence of each cut, and whether it is one of the true boundaries, one to one."""
    tolerance, left = tolerance_frames(episode.fps), sorted(true)
    rows = []
    for cut in EventSegmenter()(episode).cuts:
        near = next((t for t in left if abs(t - cut.frame) <= tolerance), None)
        rows.append((cut.confidence, near is not None))
        if near is not None:
            left.remove(near)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--episodes", type=int, default=10, help="of each simulated task (failed ones are left out)"
    )
    parser.add_argument(
        "--tuning", action="store_true", help="score the seeds on which parameters were chosen"
    )
    args = parser.parse_args()
    table, bands = [], []
    print(
        f"{'':<34}{'episodes':>8}{'true':>6}  " + "".join(f"{method:>23}" for method in METHODS), flush=True
    )
    try:
        for name, episodes in tqdm(
            tasks(args.episodes, args.tuning), total=16, unit=" tasks", file=sys.stderr
        ):
            row = []
            for method in METHODS:
                score, uncut = BoundaryScore(), 0
                for episode, true in episodes:
                    found = cuts_of(method, episode, true)
                    score += boundary_score(found, true, tolerance_frames(episode.fps))
                    uncut += not found
                row.append(f1(score, uncut / max(len(episodes), 1)))
            bands += [pair for episode, true in episodes for pair in confidences(episode, true)]
            table.append(row)
            true = sum(len(true) for _, true in episodes)
            cells = "".join(f"{value:>23.3f}" for value in row)
            print(f"{name:<34}{len(episodes):>8}{true:>6}  {cells}", flush=True)
    except MissingPackageError as error:
        print(f"segmentation_suite: {error}", file=sys.stderr)
        return 2
    mean = np.mean(table, axis=0)
    print(f"{'mean of tasks':<34}{'':>8}{'':>6}  " + "".join(f"{value:>23.3f}" for value in mean))
    print("\nconfidence      cuts   right")
    for low, high in zip(BANDS, BANDS[1:], strict=False):
        inside = [hit for confidence, hit in bands if low <= confidence < high or confidence == high == 1]
        print(f"{low:.2f} to {high:.2f}{len(inside):>8}{np.mean(inside) if inside else float('nan'):>8.3f}")
    margin = mean[0] - max(mean[2], mean[3])
    ok = mean[0] >= NEEDED_F1 and margin >= NEEDED_MARGIN
    print(f"\nF1 {mean[0]:.3f}, {margin:+.3f} over the better baseline: {'passes' if ok else 'FAILS'}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
