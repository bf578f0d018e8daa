# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What Muon's step costs beside AdamW's and beside a training step, at `nano`; alone and on two ranks.

    python benchmarks/bench_optimizer.py [--threads 2] [--repeats 20] [--batches 8 16 32] [--widen 1 2 4]

Medians of interleaved runs in one process, so compare the ratios. The two ranks have one thread each; the steps of one
of them alone and of both together alternate. What the ranks divide grows with the cube of a model's width, what both
must do and send with its square: --widen repeats the two-rank part for models that many times as wide.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from benchmarks.speed.policy import nano, training_batch
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.training import muon as optimization

WIDTHS = ("video_width", "video_ffn_width", "action_width", "action_ffn_width")
PARTS = (
    "alone",
    "alone, orthogonalisation",
    "alone, processor",
    "shared",
    "shared, processor",
    "shared, orthogonalisation",
    "shared, exchange",
)


def with_gradients(optimizer: str, widen: int = 1) -> tuple[WallwmPolicy, torch.optim.Optimizer]:
    """A `nano` policy, or one so many times as wide, with some gradient everywhere, and its optimiser."""
    config = nano().config
    widths = {name: widen * getattr(config, name) for name in WIDTHS}
    policy = nano(**widths).train()
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


def _rank(rank: int, ranks: int, store: str, repeats: int, widen: int, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    _, optimizer = with_gradients("muon", widen)
    times: dict[str, list[float]] = {name: [] for name in PARTS}
    orthogonalize_all, exchange = optimization.orthogonalize_all, optimization.exchange
    spent: dict[str, float] = {}

    def orthogonalize_timed(*args: Any) -> list[Tensor]:
        start = time.perf_counter()
        results = orthogonalize_all(*args)
        spent["orthogonalisation"] = (time.perf_counter() - start) * 1e3
        return results

    def exchange_timed(*args: Any) -> Callable[[], list[Tensor]]:
        start = time.perf_counter()
        wait = exchange(*args)
        begun = (time.perf_counter() - start) * 1e3

        def wait_timed() -> list[Tensor]:
            start = time.perf_counter()
            results = wait()
            spent["exchange"] = begun + (time.perf_counter() - start) * 1e3
            return results

        return wait_timed

    with (
        mock.patch.object(optimization, "orthogonalize_all", orthogonalize_timed),
        mock.patch.object(optimization, "exchange", exchange_timed),
    ):
        for turn in range(repeats + 2):
            measured = {}
            dist.barrier()
            if rank == 0:
                with mock.patch.object(optimization, "ranks", lambda: 1):
                    began = time.process_time()
                    measured["alone"] = timed(optimizer.step)
                    measured["alone, processor"] = (time.process_time() - began) * 1e3
                measured["alone, orthogonalisation"] = spent["orthogonalisation"]
            dist.barrier()
            began = time.process_time()
            measured["shared"] = timed(optimizer.step)
            measured["shared, processor"] = (time.process_time() - began) * 1e3
            measured["shared, orthogonalisation"] = spent["orthogonalisation"]
            measured["shared, exchange"] = spent["exchange"]
            if rank == 0 and turn >= 2:
                for name in PARTS:
                    times[name].append(measured[name])
    if rank == 0:
        torch.save({name: statistics.median(values) for name, values in times.items()}, out)
    dist.destroy_process_group()


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--widen", type=int, nargs="+", default=[1])
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

    for widen in args.widen:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(_rank, (2, f"{folder}/store", args.repeats, widen, f"{folder}/time"), nprocs=2)
            ranks = torch.load(f"{folder}/time", weights_only=True)
        print(
            f"{widen} x as wide, one thread each: {ranks['alone']:.1f} ms on one rank, {ranks['shared']:.1f} ms on two "
            f"({ranks['shared'] / ranks['alone']:.0%}), of the processor {ranks['alone, processor']:.1f} and "
            f"{ranks['shared, processor']:.1f} ({ranks['shared, processor'] / ranks['alone, processor']:.0%}); "
            "of the wall's orthogonalisation "
            f"{ranks['alone, orthogonalisation']:.1f} and {ranks['shared, orthogonalisation']:.1f}, sending and waiting "
            f"for the other {ranks['shared, exchange']:.1f}"
        )


if __name__ == "__main__":
    main()
