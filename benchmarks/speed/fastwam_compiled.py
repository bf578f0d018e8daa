# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`nano` beside LeRobot's FastWAM of the same sizes when both are compiled as `lerobot-rollout --use_torch_compile` does.

    python benchmarks/bench_fastwam_compiled.py [--threads 1] [--repeats 15] [--steps 5]

Compiling takes some minutes and needs a C++ compiler. Timings as in bench_fastwam.py, interleaved with both uncompiled.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
import warnings

import torch

from benchmarks.speed.fastwam import LIKE_FOR_LIKE, Subject, act, fastwam, interleaved, ours


def compiled(subject: Subject) -> Subject:
    """`subject`, its `predict_action_chunk` wrapped as LeRobot's rollout wraps it, and run once."""
    policy = subject.policy
    wrapped = torch.compile(policy.predict_action_chunk, backend="inductor", mode="default")
    policy.predict_action_chunk = wrapped  # type: ignore[method-assign]
    began = time.perf_counter()
    for _ in range(2):
        act(subject)()
    print(f"{subject.name}: compiled in {time.perf_counter() - began:.0f} s")
    return subject


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5, help="action denoising steps of both")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.getLogger().setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    sizes = {"batch": 2, "steps": args.steps}
    like = ours("ours, like for like", **sizes, **LIKE_FOR_LIKE)
    other = fastwam(like, **sizes)
    fast_like = compiled(ours("ours, compiled", **sizes, **LIKE_FOR_LIKE))
    fast_other = compiled(fastwam(like, **sizes))
    names = [
        (other, "FastWAM"),
        (like, "ours"),
        (fast_other, "FastWAM, compiled"),
        (fast_like, "ours, compiled"),
    ]
    times = interleaved([act(subject) for subject, _ in names], args.repeats)
    print(f"\nactions from one observation, {args.steps} steps")
    print(f"{'':<20}{'median ms':>10}{'of FastWAM':>12}{'of FastWAM, compiled':>22}")
    for (_, name), own in zip(names, times, strict=True):
        ratios = [
            statistics.median(mine / its for mine, its in zip(own, times[i], strict=True)) for i in (0, 2)
        ]
        print(f"{name:<20}{statistics.median(own):10.1f}{ratios[0]:12.2f}{ratios[1]:22.2f}")


if __name__ == "__main__":
    main()
