# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the policy looks at: its error at the end of events with its own pictures, others, none, and by each path.

Trains short runs and measures them on held-out events whose end depends on pictures, or measures finished checkpoints
(`--checkpoints`). Errors are means over the five arm joints at the last frame of an event, in degrees, and of the
gripper's point in millimetres; each kind of event counts alike. `--fresh=60` measures on so many demonstrations that are
recorded anew, from seeds that neither training nor any choice of design has seen.

A policy whose error does not grow with another scene's pictures is blind; one whose error grows only where a network
beside the tower sees them has a passenger for a world model.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.repo import REPO
from benchmarks.harness.rows import Mean, Row, bar
from benchmarks.learning import one_run

QUICK = {**one_run.QUICK, "only": ["default"]}
# The first seed of demonstrations that were never used for anything else.
FRESH_SEED = 700_000
BASE = str(REPO / "weights" / "nano-base")
# Name to the fields of the configuration, or of its training stage, that differ from the default.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "base weights": {"start": BASE},
    "base weights, another camera": {"start": BASE, "altered": "camera"},
    "base weights, other words": {"start": BASE, "altered": "words"},
    "no landmarks": {"landmarks": 0},
    "no goal loss": {"losses": ["action", "video", "remaining"]},
    "no video loss": {"losses": ["action", "remaining", "goal"]},
}


def flags(parser: ArgumentParser) -> None:
    one_run.study_flags(parser, steps=300)
    parser.add_argument(
        "--checkpoints", type=Path, nargs="*", default=[], help="measure these instead of training"
    )
    parser.add_argument("--fresh", type=int, default=0, help="demonstrations to record and to measure on")
    parser.add_argument("--variants", type=json.loads, default={}, help="more of them: name to fields, JSON")


def rows(args: Namespace) -> Iterator[Row]:
    events = one_run.prepared(args)
    heldout = events / "heldout"
    if args.fresh:
        heldout = one_run.recorded(args.out / f"fresh{args.fresh}", args.fresh, FRESH_SEED) / "train"
    if args.checkpoints:
        for path in args.checkpoints:
            yield from table(str(path), {0: {"sight": one_run.sight(path, heldout, args.out / "frames")}})
        return
    variants = {**VARIANTS, **args.variants}
    chosen = {name: fields for name, fields in variants.items() if not args.only or name in args.only}
    jobs = [
        one_run.job(args, name, seed, events / "train", heldout, changes=fields, sight=True)
        for seed in args.seeds
        for name, fields in chosen.items()
    ]
    for name, seeds in one_run.run_all(args, jobs).items():
        yield from table(name, seeds)
        times = float(np.mean([run["sight"]["times"]["another scene"] for run in seeds.values()]))
        yield bar(f"{name}: error with another scene's pictures, times its own", times, least=1.8)


def table(name: str, seeds: Mapping[int, Mapping[str, Any]]) -> Iterator[Row]:
    """A line for each exchange; figures are means over the seeds."""
    sights = [run["sight"] for run in seeds.values()]
    counts = ", ".join(f"{kind} {n}" for kind, n in sights[0]["events"].items())
    for exchange in sights[0]["degrees"]:
        cells: dict[str, Any] = {"pictures, words, futures": exchange}
        for kind in (*sights[0]["events"], "all"):
            cells[f"{kind}, deg"] = Mean.of(s["degrees"][exchange][kind] for s in sights)
        if sights[0]["millimetres"]:
            for kind in (*sights[0]["events"], "median"):
                cells[f"{kind}, mm"] = Mean.of(s["millimetres"][exchange][kind] for s in sights)
        cells["times its own"] = Mean.of(s["times"][exchange] for s in sights)
        yield Row(f"{name}: end of held-out events ({counts}), seeds {sorted(seeds)}", cells)
    joints = {joint: Mean.of(s["joints"][joint] for s in sights) for joint in sights[0]["joints"]}
    yield Row(f"{name}: own pictures, by joint", joints)
