# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether the arm does what it is told: two instructions for each scene, and which of the two it then does.

The scenes are tables with several cubes, discs and bins. The instructions of a pair differ in the cube, in the place, or in
the order of two steps, and in nothing else; scene, seed and pixels are the same. A checkpoint plays both by the unmodified
lerobot-eval; what is done is not redone. A pair is followed if the arm did the one when told the one, and the other when
told the other.

`--stand_in` takes a scripted arm in place of a checkpoint, to test the instrument: `expert` does what it is told, `deaf`
draws one of the two.
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from so101_demo.collect import read_progress_log
from so101_demo.commands import CommandError
from so101_demo.stages import Stages, fingerprint_path

from benchmarks.harness.repo import REPO
from benchmarks.harness.rows import CannotRunError, Mean, Row, Share
from benchmarks.so101.bench import FIRST_SEED, evaluate

SPLITS = ("pairs", "pairs_swapped")
STAND_INS = ("expert", "deaf")
QUICK = {"pairs": 4, "stand_in": "expert"}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, help="checkpoint, a folder")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--stand_in", choices=STAND_INS, help="a scripted arm in place of a checkpoint")
    parser.add_argument("--fresh", action="store_true", help="redo everything")


def rows(args: Namespace) -> Iterator[Row]:
    if args.pairs < 1:
        raise CannotRunError("--pairs must be at least 1")
    if (args.policy is None) == (args.stand_in is None):
        raise CannotRunError("give a checkpoint with --policy=FOLDER, or --stand_in=expert")
    os.chdir(REPO)
    stages = Stages(args.out, args.fresh)
    simulator = REPO / "examples/so101_sim/lerobot_env_so101_sim"
    inputs = {
        "arm": fingerprint_path(args.policy) if args.policy else args.stand_in,
        "pairs": args.pairs,
        "simulator": fingerprint_path(simulator, suffixes=(".py",)),
    }
    told = []
    for split in SPLITS:
        folder = args.out / split
        if args.policy:
            log = args.out / "logs" / f"{split}.log"
            playing = partial(evaluate, args.policy, split, args.pairs, folder, log, print, "Table-v0")
        else:
            playing = partial(play, args.stand_in, split, args.pairs, folder / "progress.jsonl")
        try:
            played = stages.run(split, inputs, [folder], playing)
        except CommandError as error:
            raise CannotRunError(str(error)) from error
        wanted = range(FIRST_SEED, FIRST_SEED + args.pairs)
        told.append([e for e in read_progress_log(played.values["progress_log"]) if e["seed"] in wanted])
    yield from summarise(*told)


def play(stand_in: str, split: str, pairs: int, progress_log: Path) -> dict[str, Any]:
    """Lets a scripted arm play one half of the pairs, without pictures."""
    from lerobot_env_so101_sim.expert import Expert
    from lerobot_env_so101_sim.tables.env import So101TableEnv

    progress_log.parent.mkdir(parents=True, exist_ok=True)
    env = So101TableEnv(split=split, progress_log=progress_log, cameras=False)
    for seed in range(FIRST_SEED, FIRST_SEED + pairs):
        env.reset(seed=seed)
        if stand_in == "deaf" and np.random.default_rng([seed, SPLITS.index(split)]).random() < 0.5:
            env.disobey()
        over, hold = False, env.to_row(env.simulation.data.qpos[:6])
        try:
            for command in Expert(env, np.random.default_rng([seed, 202])).commands():
                hold = command.executed
                over = any(env.step(hold)[2:4])
                if over:
                    break
        except ValueError:  # a waypoint out of reach: the arm stays where it is
            pass
        while not over:
            over = any(env.step(hold)[2:4])
    env.close()
    return {"progress_log": str(progress_log)}


def summarise(first: Sequence[Mapping[str, Any]], swapped: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Counts and intervals from the lines of two progress logs.

    Raises:
        CannotRunError: The two do not hold the same scenes.
    """
    one, other = ({e["seed"]: e for e in half} for half in (first, swapped))
    if not one or set(one) != set(other):
        raise CannotRunError("the two progress logs do not hold the same scenes. Fix: run again with --fresh")
    pairs = [(one[seed], other[seed]) for seed in sorted(one)]
    for kind in ("cube", "place", "order", "any"):
        chosen = [pair for pair in pairs if kind in ("any", pair[0]["differ_in"])]
        if chosen:
            yield Row("what the arm did, of two instructions a scene", {"differ in": kind, **_cells(chosen)})


def _cells(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    episodes = [episode for pair in pairs for episode in pair]
    did = [episode["did"] for episode in episodes]
    obeyed = did.count("told")
    return {
        "as told": Share(obeyed, len(did)),
        "the other": Share(did.count("other"), len(did)),
        "neither": Share(did.count("neither"), len(did)),
        "as told, of one or the other": Share(obeyed, obeyed + did.count("other")),
        "pairs followed": Share(sum(a["did"] == b["did"] == "told" for a, b in pairs), len(pairs)),
        "Task Progress, told less other": Mean.of(e["task_progress"] - e["other_progress"] for e in episodes),
    }
