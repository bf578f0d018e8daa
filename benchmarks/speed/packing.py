# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What packing, shared video forwards and gradient checkpointing save, on the committed dataset's event lengths.

    python benchmarks/bench_packing.py [--threads 1] [--rounds 5] [--repeats 3] [--batches 8 16]

Windows are drawn as training draws them: every frame of every event is an anchor. Pictures and actions are random,
because the time does not depend on them. A step is losses and backward pass; reading, decoding and resizing pictures
and the optimiser are left out. Two variants take turns on the same windows, and the ratio of their medians is printed:
other work on the machine then slows both alike. Processor time is counted, not the clock's: use one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.repo import PHASES
from benchmarks.speed.policy import nano, training_batch
from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.model.windows import EventWindows
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.training.stages import STAGES


def frames_left() -> np.ndarray:
    """Frames from each anchor of the committed dataset to its event's end, itself included."""
    phases = pd.read_parquet(PHASES)
    lengths = (phases["end"] - phases["start"]).to_numpy()
    return np.concatenate([np.arange(length, 0, -1) for length in lengths])


def window(policy: WallwmPolicy, lengths: Tensor) -> EventWindows:
    """Random windows of events that last so many frames."""
    config = policy.config
    batch = training_batch(config, len(lengths))
    batch["action_is_pad"] = torch.arange(config.horizon) >= lengths[:, None]
    offsets = torch.tensor(config.observation_delta_indices)
    batch |= {f"{key}_is_pad": offsets >= lengths[:, None] for key in config.image_features}
    return policy.windows_from_batch(batch)


def step(policy: WallwmPolicy, event: EventWindows, **changes: object) -> Callable[[], None]:
    """One training step of a stage, `joint` if none is named, with some numbers of the model's shape replaced."""
    model = policy.model
    stage = replace(STAGES["joint"], **{k: v for k, v in changes.items() if k != "packing"})  # type: ignore[arg-type]
    shape = replace(model.shape, stage=stage, packing=changes.get("packing", True))

    def run() -> None:
        model.shape = shape
        torch.manual_seed(0)
        for part in model.parts().values():
            part.requires_grad_(True)
        for part in model.frozen_parts():
            part.requires_grad_(False)
        losses = objectives.losses(model, event)
        sum(getattr(losses, name).mean() for name in shape.stage.losses).backward()
        model.zero_grad()

    return run


def medians(calls: list[Callable[[], None]], rounds: int) -> list[float]:
    """Median processor milliseconds of each call; they take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 1):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            if turn:  # the first round warms up
                taken.append((time.process_time() - start) * 1e3)
    return [statistics.median(taken) for taken in times]


def compare(title: str, calls: list[list[Callable[[], None]]], rounds: int) -> None:
    """Prints medians of two variants, averaged over several batches, and their ratio."""
    first, second = np.mean([medians(pair, rounds) for pair in calls], axis=0)
    print(f"{title:<52}{first:9.0f}{second:9.0f}{second / first:9.2f}")


def peak_memory(call: Callable[[], None]) -> float:
    """Most megabytes (10^6) held at once above the start, from the profiler's record of each allocation."""
    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        call()
    held = peak = 0
    events = [e for e in trace.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 1e6


def checkpointing(policy: WallwmPolicy, event: EventWindows, on: bool) -> Callable[[], None]:
    """A joint step with every future, with or without blocks computed twice."""
    joint = step(policy, event, future_fraction=1.0)

    def run() -> None:
        policy.model.video.gradient_checkpointing = policy.model.action.gradient_checkpointing = on
        joint()

    return run


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16], help="batch sizes")
    parser.add_argument("--repeats", type=int, default=3, help="batches of windows to average over")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    policy = nano().train()
    usual = policy.model.shape
    generator = torch.Generator().manual_seed(0)
    pool = torch.from_numpy(frames_left())
    horizon = policy.config.horizon
    mean = float(pool.clamp_max(horizon).float().mean())
    print(f"{len(pool)} windows; {mean:.1f} of {horizon} actions valid on average, {args.threads} threads\n")

    def windows(batch: int, future_fraction: float) -> list[EventWindows]:
        policy.model.shape = replace(usual, stage=replace(usual.stage, future_fraction=future_fraction))
        anchors = torch.randint(len(pool), (args.repeats, batch), generator=generator)
        return [window(policy, pool[rows]) for rows in anchors]

    print(f"{'processor ms':<52}{'padded':>9}{'packed':>9}{'ratio':>9}")
    for batch in args.batches:
        for fraction in (1.0, usual.stage.future_fraction):
            events = windows(batch, fraction)
            pairs = [
                [step(policy, e, packing=p, future_fraction=fraction) for p in (False, True)] for e in events
            ]
            compare(f"joint, batch {batch}, future_fraction={fraction}", pairs, args.rounds)

    print(f"\n{'processor ms':<52}{'K = 1':>9}{'K = 6':>9}{'ratio':>9}")
    stage = STAGES["action"]
    for batch in args.batches:
        for fraction in (1.0, stage.future_fraction):
            changes = {f.name: getattr(stage, f.name) for f in fields(stage)} | {"future_fraction": fraction}
            pairs = [
                [step(policy, e, **{**changes, "action_draws": draws}) for draws in (1, 6)]
                for e in windows(batch, fraction)
            ]
            compare(f"stage action, batch {batch}, future_fraction={fraction}", pairs, args.rounds)

    print(f"\n{'gradient checkpointing':<52}{'off':>9}{'on':>9}{'ratio':>9}")
    for batch in args.batches:
        pair = [checkpointing(policy, windows(batch, 1.0)[0], on) for on in (False, True)]
        off, on = (peak_memory(call) for call in pair)
        print(f"{f'joint, batch {batch}, future_fraction=1.0, MB':<52}{off:9.0f}{on:9.0f}{on / off:9.2f}")
        compare(f"joint, batch {batch}, future_fraction=1.0, ms", [pair], args.rounds)


if __name__ == "__main__":
    main()
