# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The segmenter on 16 tasks of three simulators, its families, at 10, 20 and 80 Hz.

SO-101 pick and place (joint targets), robo-evals' five tasks and ten Meta-World tasks (steps of the end effector; see
tasks.py for what a phase is). Boundary F1 within 0.1 s (at least one frame), interior boundaries only, over all episodes
of a task; a task without interior boundaries (reach) scores the part of its episodes without a cut. Verbs: share of the frames
whose caption names what happens in them, by the experts' phases; within 0.1 s of a boundary nothing is counted, and
Meta-World's phases, which are contact, claim no verb.

Parameters are chosen on seeds 0 to 9 and the even SO-101 episodes (`--tuning` prints those); the table is of seeds from 1000 and
the odd ones. "Leave one family out" chooses the penalty of a change of direction, the parameter that matters most, on the tuning
seeds of the two other families, and scores the family that had no say. The last table says how often a boundary of a given
confidence is right. Fails below a mean of 0.80, or less than 0.20 above the better of the two baselines on average. Needs
`pip install "lerobot_policy_wallwm[bench]"`; `--quick` takes SO-101 alone.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from benchmarks.harness.repo import DATASET, PHASES
from benchmarks.harness.rows import Mean, Row, Share, bar
from benchmarks.segmentation.score import (
    NEEDED_F1,
    NEEDED_MARGIN,
    BoundaryScore,
    boundary_score,
    cuts_of,
    tolerance_frames,
    true_boundaries,
)
from benchmarks.segmentation.tasks import (
    META_WORLD,
    ROBO_EVALS,
    Labelled,
    record_meta_world,
    record_robo_evals,
)
from benchmarks.segmentation.two_arms import phases
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter, SegmenterConfig
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset

METHODS = ("ours, action events", "ours, cuts", "uniform (true number)", "gripper only")
SIMULATORS = ["so101", "robo-evals", "metaworld"]
PENALTIES_S = (0.06, 0.08, 0.1, 0.125, 0.15, 0.2)
BANDS = (0.25, 0.4, 0.6, 0.8, 0.95, 1.0)
QUICK = {"simulators": ["so101"]}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--episodes", type=int, default=10, help="of each simulated task; failed ones drop out"
    )
    parser.add_argument("--tuning", action="store_true", help="score the seeds that chose the parameters")
    parser.add_argument("--simulators", nargs="+", choices=SIMULATORS, default=SIMULATORS)


def tasks(args: Namespace, tuning: bool) -> Iterator[tuple[str, list[Labelled]]]:
    """Family and task, and the episodes of each."""
    source, truth = SourceDataset.open(DATASET), true_boundaries(PHASES)
    own = [p for p, index in enumerate(source.episode_indices) if index % 2 == (0 if tuning else 1)]
    if "so101" in args.simulators:
        episodes = [source.read(position) for position in own]
        verbs = [[frozenset({verb}) for verb in phases(len(e), e.index)] for e in episodes]
        yield (
            "so101 pick_place",
            [Labelled(e, truth[e.index], v) for e, v in zip(episodes, verbs, strict=True)],
        )
    first = 0 if tuning else 1000
    seeds = range(first, first + args.episodes)
    for task in ROBO_EVALS if "robo-evals" in args.simulators else ():
        yield f"robo-evals {task}", record_robo_evals(task, seeds)
    for task in META_WORLD if "metaworld" in args.simulators else ():
        yield f"metaworld {task}", record_meta_world(task, seeds)


def by_family(scores: dict[str, float]) -> dict[str, float]:
    """Means over the tasks of each family."""
    families: dict[str, list[float]] = {}
    for task, score in scores.items():
        families.setdefault(task.split()[0], []).append(score)
    return {family: float(np.mean(own)) for family, own in families.items()}


def f1_of(episodes: list[Labelled], cuts: Callable[[Labelled], list[int]]) -> float:
    """Of all episodes of a task; of one without boundaries, the part of its episodes without a cut."""
    score, uncut = BoundaryScore(), 0
    for one in episodes:
        found = cuts(one)
        score += boundary_score(found, one.starts, tolerance_frames(one.episode.fps))
        uncut += not found
    return score.f1 if score.true else uncut / max(len(episodes), 1)


def with_penalty(penalty: float) -> Callable[[Labelled], list[int]]:
    """Cuts between actions at a penalty."""
    segmenter = EventSegmenter(SegmenterConfig(change_penalty_s=penalty))
    return lambda one: segmenter(one.episode).frames("action")


def verbs_right(one: Labelled) -> tuple[int, int]:
    """Frames whose caption names what happens in them, and how many claim a verb."""
    near, hits, claimed = tolerance_frames(one.episode.fps), 0, 0
    for event in EventCaptioner()(one.episode, EventSegmenter()(one.episode)):
        for t in range(event.start, event.end) if event.level == "action" else ():
            if one.verbs[t] and all(abs(t - start) > near for start in one.starts):
                claimed += 1
                hits += event.label in one.verbs[t]
    return hits, claimed


def left_out(args: Namespace, scored: dict[str, list[Labelled]]) -> Iterator[Row]:
    """Each family at the penalty that the tuning seeds of the others choose."""
    tuned = dict(tasks(args, tuning=True))
    chosen = {
        p: by_family({name: f1_of(own, with_penalty(p)) for name, own in tuned.items()}) for p in PENALTIES_S
    }
    found = []
    for family in by_family(dict.fromkeys(scored, 0.0)):
        others = {
            p: np.mean([f1 for name, f1 in means.items() if name != family]) for p, means in chosen.items()
        }
        penalty = max(PENALTIES_S, key=lambda p: others[p])
        own = [f1_of(e, with_penalty(penalty)) for name, e in scored.items() if name.split()[0] == family]
        found.append(float(np.mean(own)))
        yield Row("leave one family out", {"family": family, "penalty, s": penalty, "F1": Mean.of(own)})
    yield Row("leave one family out", {"family": "mean of families", "penalty, s": "", "F1": Mean.of(found)})


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
    bands, verbs = [], {}
    scores: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    scored = dict(tasks(args, args.tuning))
    for name, episodes in scored.items():
        for method in METHODS:
            scores[method][name] = f1_of(episodes, lambda one, m=method: cuts_of(m, one.episode, one.starts))
        bands += [pair for one in episodes for pair in confidences(one.episode, one.starts)]
        right = [verbs_right(one) for one in episodes]
        verbs[name] = Share(sum(hits for hits, _ in right), sum(claimed for _, claimed in right))
        figures = {method: scores[method][name] for method in METHODS}
        true_count = sum(len(one.starts) for one in episodes)
        about = {"task": name, "episodes": len(episodes), "true": true_count}
        yield Row(
            "boundary F1", {**about, **figures, "verbs": verbs[name] if verbs[name].of else "not claimed"}
        )
    means = {method: by_family(own) for method, own in scores.items()}
    for family in means[METHODS[0]]:
        yield Row("families", {"family": family, **{method: means[method][family] for method in METHODS}})
    mean = [float(np.mean(list(scores[method].values()))) for method in METHODS]
    yield Row("families", {"family": "mean of tasks", **dict(zip(METHODS, mean, strict=True))})
    if len(args.simulators) > 1 and not args.tuning:
        yield from left_out(args, scored)
    for low, high in pairwise(BANDS):
        inside = [hit for confidence, hit in bands if low <= confidence < high or confidence == high == 1]
        yield Row(
            "cuts by confidence",
            {"confidence": f"{low:.2f} to {high:.2f}", "right": Share(sum(inside), len(inside))},
        )
    yield bar("mean F1", mean[0], NEEDED_F1)
    yield bar("F1 above the better baseline", mean[0] - max(mean[2], mean[3]), NEEDED_MARGIN)
