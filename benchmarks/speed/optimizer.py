# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What Muon's step costs beside AdamW's and beside a training step, at `nano`.

    python -m benchmarks.speed.optimizer [--threads 2] [--repeats 20] [--batches 8 16 32]

Medians of interleaved runs in one process, so compare the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.speed.policy import nano, training_batch
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


def with_gradients(optimizer: str) -> tuple[WallwmPolicy, torch.optim.Optimizer]:
    """A `nano` policy with some gradient everywhere, and its optimiser."""
    policy = nano().train()
    policy.config.optimizer = optimizer
    generator = torch.Generator().manual_seed(0)
    for parameter in policy.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 1e-3
    return policy, policy.config.get_optimizer_preset().build(policy.get_optim_params())


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def interleaved(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median of each call, in turn, after two rounds of warm-up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 2):
        for name, call in calls.items():
            took = timed(call)
            if turn >= 2:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    (_, adamw), (policy, muon) = with_gradients("adamw"), with_gradients("muon")

    calls: dict[str, Callable[[], object]] = {"AdamW step": adamw.step, "Muon and AdamW step": muon.step}
    for size in args.batches:
        batch = training_batch(policy.config, size)
        calls[f"forward and backward, {size}"] = lambda batch=batch: policy(batch)[0].backward()  # type: ignore[misc]
    medians = interleaved(calls, args.repeats)
    for name, median in medians.items():
        print(f"{name:<28}{median:9.1f} ms")
    taken = sum(p.numel() for g in muon.param_groups if g["use_muon"] for p in g["params"])
    whole = sum(p.numel() for g in muon.param_groups for p in g["params"])
    print(f"\nMuon takes {taken / whole:.0%} of {whole / 1e6:.1f} M parameters")
    both, alone = medians["Muon and AdamW step"], medians["AdamW step"]
    for size in args.batches:
        rest = medians[f"forward and backward, {size}"]
        print(
            f"batch {size}: its step is {both / (rest + both):.1%} of a training step, which is "
            f"{(both - alone) / (rest + alone):.1%} longer than with AdamW alone"
        )


if __name__ == "__main__":
    main()
