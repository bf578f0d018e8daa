# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Base weights: records many unlike scenes, cuts them at their events, trains `nano` on them.

What they are worth on a dataset that the scenes do not hold, at equal steps:
`learning sight --fresh=45 --steps=800 --only default base --variants '{"base": {"start": "<checkpoint>"}}'`.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchmarks.harness.rows import Row
from benchmarks.learning import one_run

QUICK = {"episodes": 3, "steps": 2, "batch": 2}
FIRST_SEED = 10_000_000


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--episodes", type=int, default=300, help="demonstrations to record")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    # More than the stage's: base weights are to know how scenes go on, too. Our choice.
    parser.add_argument("--future", type=float, default=0.25, help="part of a batch that carries its future")


def rows(args: Namespace) -> Iterator[Row]:
    wide = args.out / f"wide{args.episodes}"
    view = one_run.recorded(wide, args.episodes, FIRST_SEED, wide=True, heldout=0.1)
    places = str(view / "train"), str(view / "heldout"), str(args.out / "frames")
    job = one_run.Job(
        "nano-base", args.seed, args.steps, args.batch, *places, 0, changes={"future_fraction": args.future}
    )
    root = args.out / f"nano-base-{args.steps}x{args.batch}"
    found = one_run.train(job, root)
    # Of this run and not of those that start from it.
    config = root / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"future_fraction": None}, indent=4) + "\n")
    yield Row("training", {"checkpoint": str(root), "steps": args.steps, **found})
