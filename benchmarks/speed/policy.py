# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Time from images to actions for one event, and time of a training step, of the `nano` policy.

    python benchmarks/bench_policy.py [--threads 2] [--repeats 30] [--batch 16] [--profile]

Prints medians with the 10th and 90th percentile. The goal is under 100 ms for `imagination=none` on two idle cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from lerobot.configs import FeatureType, PolicyFeature

from lerobot_wallwm import WallwmConfig
from lerobot_wallwm.policies.configuration_wallwm import GRAD_CLIP_NORM
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

CAMERAS = ("observation.images.overhead", "observation.images.wrist")
JOINTS = 6
CAPTION = "move the red cube to the blue disc"


def nano(imagination: str = "none", **sizes: int) -> WallwmPolicy:
    """The default policy, or one of other sizes, for two 96 x 96 cameras and six joints."""
    visual = {key: PolicyFeature(FeatureType.VISUAL, (3, 96, 96)) for key in CAMERAS}
    config = WallwmConfig(
        input_features={**visual, "observation.state": PolicyFeature(FeatureType.STATE, (JOINTS,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))},
        imagination=imagination,
        planner="instruction",
        device="cpu",
        push_to_hub=False,
        **sizes,
    )
    torch.manual_seed(0)
    policy = WallwmPolicy(config).eval()
    # An event as long as the window: the most work that one look can cause.
    head = policy.model.action.remaining_head[-1]
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, float(torch.tensor(float(config.horizon)).log()))
    return policy


def observation(config: WallwmConfig) -> dict:
    """One robot's inference batch."""
    frames = {key: torch.rand(1, *feature.shape) for key, feature in config.image_features.items()}
    return {**frames, "observation.state": torch.zeros(1, JOINTS), "task": [CAPTION]}


def training_batch(config: WallwmConfig, batch: int) -> dict:
    """A full batch without padding."""
    frames = len(config.observation_delta_indices)
    images = {key: torch.rand(batch, frames, *f.shape) for key, f in config.image_features.items()}
    return {
        **images,
        "observation.state": torch.randn(batch, frames, JOINTS),
        "action": torch.rand(batch, config.horizon, JOINTS) * 2 - 1,
        "action_is_pad": torch.zeros(batch, config.horizon, dtype=torch.bool),
        "task": [CAPTION] * batch,
    }


def measure(call: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile in milliseconds, after three warm-up calls."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    tenths = statistics.quantiles(times, n=10) if len(times) > 1 else [times[0]] * 9
    return statistics.median(times), tenths[0], tenths[-1]


def training_step(policy: WallwmPolicy, batch: dict) -> Callable[[], object]:
    """Forward, backward, clip and AdamW step, as LeRobot's trainer does them."""
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())

    def step() -> None:
        loss, _ = policy(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), GRAD_CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()

    return step


def profile(policy: WallwmPolicy, batch: dict, rows: int = 15) -> str:
    """Where one look spends its time: the operators with the most own time."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as trace:
        for _ in range(10):
            policy.predict_action_chunk(batch)
    return trace.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows, max_name_column_width=45)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--profile", action="store_true", help="also print the costliest operators of 'none'")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    policy = nano()
    config = policy.config
    parts = {
        "video tower": policy.model.video,
        "action tower": policy.model.action,
        "text encoder": policy.model.text_encoder,
        "all": policy,
    }
    print(
        f"nano: {len(CAMERAS)} cameras of {config.image_size}, {config.num_future_latents} future latents, ",
        end="",
    )
    print(f"horizon {config.horizon}, {config.num_inference_steps} steps, {args.threads} threads\n")
    for name, module in parts.items():
        print(f"{name:<28}{sum(p.numel() for p in module.parameters()) / 1e6:8.3f} M parameters")
    print(f"\n{'':<28}{'median':>9}{'p10':>9}{'p90':>9}   ms")
    for imagination in ("none", "anchor", "full"):
        each = nano(imagination)
        batch = observation(each.config)
        row = measure(lambda each=each, batch=batch: each.predict_action_chunk(batch), args.repeats)
        print(f"one event, {imagination:<17}" + "".join(f"{value:9.1f}" for value in row))
    step = training_step(policy.train(), training_batch(config, args.batch))
    row = measure(step, max(3, args.repeats // 3))
    print(f"{f'training step, batch {args.batch}':<28}" + "".join(f"{value:9.1f}" for value in row))
    print(f"{'':<28}{args.batch / row[0] * 1e3:9.1f} samples/s")
    if args.profile:
        each = nano()
        print("\n" + profile(each, observation(each.config)))


if __name__ == "__main__":
    main()
