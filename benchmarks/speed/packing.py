# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What packing, shared video forwards and gradient checkpointing save, on the committed dataset's event lengths.

Windows are drawn as training draws them: every frame of every event is an anchor. Pictures and actions are random,
because the time does not depend on them. A step is losses and backward pass, in processor time; two variants take turns
on the same windows. "Padded" computes frames and actions beyond the events too, and masks them: the plain reference.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.harness.batches import nano, training_batch
from benchmarks.harness.repo import PHASES
from benchmarks.harness.rows import Row, Spread
from benchmarks.harness.timing import in_turns, kept_bytes, ratios

QUICK = {"rounds": 2, "batches": [4]}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16], help="batch sizes")


def frames_left() -> np.ndarray:
    """Frames from each anchor of the committed dataset to its event's end, itself included."""
    phases = pd.read_parquet(PHASES)
    lengths = (phases["end"] - phases["start"]).to_numpy()
    return np.concatenate([np.arange(length, 0, -1) for length in lengths])


def step(
    lengths: torch.Tensor, padded: bool = False, **fields: Any
) -> tuple[Callable[[], object], torch.nn.Module]:
    """Losses and backward pass of a policy with these fields on windows of such events, and the policy."""
    policy = nano(**fields).train()
    policy.model.shape = replace(policy.model.shape, packing=not padded)
    batch = training_batch(policy.config, len(lengths), lengths)

    def run() -> None:
        torch.manual_seed(0)
        policy(batch)[0].backward()
        policy.zero_grad()

    return run, policy


def rows(args: Namespace) -> Iterator[Row]:
    pool = torch.from_numpy(frames_left())
    generator = torch.Generator().manual_seed(0)
    valid = float(pool.clamp_max(nano().config.horizon).float().mean())
    yield Row("windows", {"count": len(pool), "actions valid, mean": valid})

    def compare(title: str, what: str, lengths: torch.Tensor, pair: dict[str, dict]) -> Iterator[Row]:
        calls = {name: step(lengths, **fields)[0] for name, fields in pair.items()}
        times = in_turns(calls, args.rounds, processor=True)
        first, second = times
        cells = {f"{name}, ms": Spread.of(values) for name, values in times.items()}
        yield Row(title, {"what": what, **cells, "ratio": Spread.of(ratios(times, second, first))})

    for size in args.batches:
        lengths = pool[torch.randint(len(pool), (size,), generator=generator)]
        for fraction in (1.0, 0.125):
            what = f"joint, batch {size}, future_fraction={fraction}"
            packed = {"future_fraction": fraction}
            pair = {"padded": {"padded": True, **packed}, "packed": packed}
            yield from compare("packing", what, lengths, pair)
        for fraction in (1.0, 0.5):
            what = f"stage action, batch {size}, future_fraction={fraction}"
            shared = {"stage": "action", "future_fraction": fraction}
            pair = {f"K = {k}": {**shared, "action_draws": k} for k in (1, 6)}
            yield from compare("action draws on one video forward", what, lengths, pair)
        what = f"joint, batch {size}, future_fraction=1.0"
        whole = {"future_fraction": 1.0}
        pair = {"off": whole, "on": {**whole, "gradient_checkpointing": True}}
        yield from compare("gradient checkpointing", what, lengths, pair)
        for name, fields in pair.items():
            _, policy = step(lengths, **fields)
            batch = training_batch(policy.config, len(lengths), lengths)
            held = kept_bytes(partial(policy, batch), policy)
            cells = {"what": f"{what}, checkpointing {name}", "MB": held / 1e6}
            yield Row("kept for the backward pass", cells)
