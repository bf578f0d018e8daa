# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How many training steps fit into some minutes: times a few real steps, data loading included."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Our choice: the machine is never as quiet as during the probe.
MARGIN = 0.92
# Seconds after which a slow machine's probe ends with the steps that it has.
AT_MOST = 20.0


@dataclass(frozen=True)
class StepTime:
    """Seconds per training step, measured.

    Attributes:
        load: Decoding and collating one batch in this process.
        compute: Preprocessing, forward, backward and the optimiser's step.
        threads: Of PyTorch.
    """

    load: float
    compute: float
    threads: int = 1


def time_training_step(
    root: str | Path, batch_size: int, threads: Sequence[int], warm_up: int = 2, steps: int = 6
) -> list[StepTime]:
    """Trains an untrained nano model for some steps, as lerobot-train would, and throws it away.

    On a busy machine threads that must wait for each other at every operator are slow: beside two busy processes on two
    cores a step took 8.3 s with two threads, and about 1 s with one.

    Args:
        root: Training view.
        batch_size: As for lerobot-train.
        threads: Numbers of PyTorch's threads to try.
        warm_up: Steps that do not count: the first ones open videos and allocate memory.
        steps: Steps that do, with each number of threads.
    """
    import torch
    from lerobot.datasets import LeRobotDatasetMetadata
    from lerobot.policies.factory import make_policy, make_pre_post_processors
    from torch.utils.data import DataLoader

    from lerobot_wallwm import WallwmConfig
    from lerobot_wallwm.check.measure.views import open_view

    torch.manual_seed(0)
    meta = LeRobotDatasetMetadata(f"local/{Path(root).name}", root=root)
    config = WallwmConfig(device="cpu", push_to_hub=False)
    policy = make_policy(config, ds_meta=meta)
    policy.train()
    preprocess, _ = make_pre_post_processors(config, dataset_stats=meta.stats)
    optimizer = config.get_optimizer_preset().build(policy.get_optim_params())
    loader = iter(DataLoader(open_view(root, config), batch_size=batch_size, shuffle=True))
    times = []
    for number in threads:
        torch.set_num_threads(number)
        load, compute, timed = 0.0, 0.0, 0
        started = time.perf_counter()
        for step in range(warm_up + steps):
            began = time.perf_counter()
            batch = _next(loader)
            loaded = time.perf_counter()
            loss, _ = policy.forward(preprocess(batch))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step >= warm_up:
                load += loaded - began
                compute += time.perf_counter() - loaded
                timed += 1
                if time.perf_counter() - started > AT_MOST:
                    break
        times.append(StepTime(load / timed, compute / timed, number))
    return times


def _next(loader: Any) -> dict[str, Any]:
    try:
        return next(loader)
    except StopIteration as error:
        raise ValueError(
            "the training view is too small to time training on it. Fix: pass --steps"
        ) from error


def steps_for(minutes: float, step: StepTime, start_up: float, workers: int, cores: int = 2) -> int:
    """Training steps that fit.

    Args:
        minutes: Wall-clock for lerobot-train from start to end.
        step: From `time_training_step`.
        start_up: Seconds before lerobot-train's first step.
        workers: Its ``--num_workers``, 0 or 1. A worker loads while the model computes, but takes its core's time.
        cores: Of this machine.

    Returns:
        At least 10, in multiples of 10.
    """
    if workers == 0:
        seconds = step.load + step.compute
    else:
        seconds = max(step.load, step.compute + step.load / max(cores, 1))
    fitting = MARGIN * max(60 * minutes - start_up, 0.0) / seconds
    return max(10, int(fitting) // 10 * 10)


def main() -> None:
    """`python -m so101_demo.budget VIEW BATCH_SIZE THREADS ...`: prints a line of JSON with a `StepTime` for each number."""
    times = time_training_step(sys.argv[1], int(sys.argv[2]), [int(word) for word in sys.argv[3:]])
    print(json.dumps([asdict(step) for step in times]))


if __name__ == "__main__":
    main()
