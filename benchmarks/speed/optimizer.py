# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What Muon's step costs beside AdamW's and beside a training step, at `nano`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator

import torch

from benchmarks.harness.batches import nano, training_batch
from benchmarks.harness.rows import Row, Spread
from benchmarks.harness.timing import in_turns

QUICK = {"repeats": 3, "batches": [8]}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32])


def with_gradients(optimizer: str) -> torch.optim.Optimizer:
    """The optimiser of a `nano` policy that has some gradient everywhere."""
    policy = nano(optimizer=optimizer).train()
    generator = torch.Generator().manual_seed(0)
    for parameter in policy.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 1e-3
    return policy.config.get_optimizer_preset().build(policy.get_optim_params())


def rows(args: Namespace) -> Iterator[Row]:
    adamw, muon, policy = with_gradients("adamw"), with_gradients("muon"), nano().train()
    taken = sum(p.numel() for g in muon.param_groups if g["use_muon"] for p in g["params"])
    whole = sum(p.numel() for g in muon.param_groups for p in g["params"])
    yield Row("parameters", {"of Muon, millions": taken / 1e6, "all": whole / 1e6})
    calls: dict[str, Callable[[], object]] = {"AdamW": adamw.step, "Muon and AdamW": muon.step}
    for size in args.batches:
        batch = training_batch(policy.config, size)
        calls[str(size)] = lambda batch=batch: policy(batch)[0].backward()  # type: ignore[misc]
    times = in_turns(calls, args.repeats)
    for name in ("AdamW", "Muon and AdamW"):
        yield Row("optimiser's step", {"optimiser": name, "ms": Spread.of(times[name])})
    for size in args.batches:
        longer = [
            (rest + both) / (rest + alone) - 1
            for rest, both, alone in zip(
                times[str(size)], times["Muon and AdamW"], times["AdamW"], strict=True
            )
        ]
        cells = {"batch": size, "forward and backward, ms": Spread.of(times[str(size)])}
        yield Row(
            "training step", {**cells, "longer with Muon, %": Spread.of([100 * part for part in longer])}
        )
