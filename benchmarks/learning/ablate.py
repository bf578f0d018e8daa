# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Trains each variant of the model for the same steps on the committed data: what each part is worth.

An hour on two cores. The base has cross-view attention, half of its samples with symmetric and half with anchored
timesteps, K = 2 action draws, carries the future in half of each batch, and is trained on events. `fixed chunks`, the
rival of events, cuts the same episodes by the clock at the events' mean length and is told the episode's instruction.
"""

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.rows import Mean, Row
from benchmarks.learning import one_run
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event, read_events
from lerobot_wallwm.processors.view.carver import EventCarver

QUICK = {**one_run.QUICK, "only": ["base", "fixed chunks"]}
flags = one_run.study_flags

BASE: dict[str, Any] = {"future_fraction": 0.5, "replan_steps": 0}
CHUNKS = "fixed chunks"
# Name to the fields that differ from the base.
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "sight cones": {"calibration": "so101"},
    "sight cones + tubes": {"calibration": "so101", "tube_probability": 0.5},
    "symmetric": {"anchored_fraction": 0.0},
    "anchored": {"anchored_fraction": 1.0},
    "K = 1": {"action_draws": 1},
    "K = 6": {"action_draws": 6},
    "Muon": {"optimizer": "muon"},
    CHUNKS: {},
}


def carve_chunks(source: SourceDataset, events: Path, episodes: list[int], out: Path) -> int:
    """Writes a view of fixed chunks, each told its episode's instruction; left alone if it exists.

    The table `events` tells their mean length; `episodes` are source episodes. Returns the frames of a chunk.
    """
    length = round(float(np.mean([e.length for e in read_events(events) if e.level == "action"])))
    if out.exists():
        return length
    chunks: list[Event] = []
    for position, index in enumerate(source.episode_indices):
        if index not in episodes:
            continue
        episode = source.read(position)
        for start in range(0, len(episode), length):
            end, task = min(start + length, len(episode)), episode.task
            named = {"label": "chunk", "caption": task, "template": task, "source": "clock"}
            place = {"episode_index": index, "level": "action", "start": start, "end": end}
            chunks.append(Event(event_id=len(chunks), parent=-1, confidence=1.0, **place, **named))
    EventCarver("action").carve(source, chunks, out, episodes=episodes)
    return length


def rows(args: Namespace) -> Iterator[Row]:
    from lerobot_env_so101_sim.calibration import calibration as cameras_of
    from lerobot_env_so101_sim.env import So101PickPlaceEnv
    from lerobot_wallwm.check.measure.views import source_episodes

    chosen = {name: fields for name, fields in VARIANTS.items() if not args.only or name in args.only}
    events = one_run.prepared(args)
    source = SourceDataset.open(args.dataset)
    carve_chunks(source, events / "events.parquet", source_episodes(events / "train"), args.out / "chunks")
    calibration = args.out / "cameras.json"
    if not calibration.exists():
        calibration.write_text(json.dumps(cameras_of(So101PickPlaceEnv(cameras=False))))
    tasks = {str(index): source.read(i).task for i, index in enumerate(source.episode_indices)}

    def job(name: str, seed: int) -> one_run.Job:
        changes = {**BASE, **chosen[name]}
        if "calibration" in changes:
            changes["calibration"] = str(calibration)
        chunks = name == CHUNKS
        looks = ["none", "anchor", "full"] if name == "base" else ["none"]
        more = {"told": tasks if chunks else {}, "changes": changes, "imaginations": looks, "video": True}
        view = args.out / "chunks" if chunks else events / "train"
        return one_run.job(args, name, seed, view, events / "heldout", **more)

    found = one_run.run_all(args, [job(name, seed) for seed in args.seeds for name in chosen])
    base = found.get("base", {})
    for name, seeds in found.items():
        cells = {"variant": name, **one_run.compared(seeds, base, ("near", "event"))}
        for figure in ("psnr", "psnr_moved"):
            cells[figure] = Mean.of(run["video"]["imagined"][figure] for run in seeds.values())
        cells["s a step"] = Mean.of(run["seconds_per_step"] for run in seeds.values())
        yield Row(f"{args.steps} steps of {args.batch}, seeds {args.seeds}", cells)
    for look in ("none", "anchor", "full") if base else ():
        own = [run[f"imagination {look}"] for run in base.values()]
        errors = {figure: Mean.of(errors[figure] for errors in own) for figure in ("near", "event")}
        yield Row("imagination of base", {"imagination": look, **errors})
    still = [run["video"]["repeat_keyframe"] for seeds in found.values() for run in seeds.values()]
    figures = ("psnr", "psnr_moved")
    yield Row("repeating the keyframe", {f: Mean.of(s[f] for s in still) for f in figures})
