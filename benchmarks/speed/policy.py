# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Time from images to actions for one event, and of a training step, of the `nano` policy.

The goal is under 100 ms for `imagination=none` on two idle cores.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from functools import partial

from benchmarks.harness.batches import nano, observation, training_batch, training_step
from benchmarks.harness.rows import Row, Spread
from benchmarks.harness.timing import in_turns

QUICK = {"repeats": 3, "batch": 4}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16, help="of the training step")


def rows(args: Namespace) -> Iterator[Row]:
    policies = {imagination: nano(imagination=imagination) for imagination in ("none", "anchor", "full")}
    policy = policies["none"]
    parts = {
        "video tower": policy.model.video,
        "action tower": policy.model.action,
        "text encoder": policy.model.text_encoder,
        "all": policy,
    }
    for name, module in parts.items():
        yield Row("parameters", {"part": name, "millions": sum(p.numel() for p in module.parameters()) / 1e6})
    looks = {
        f"one event, imagination={name}": partial(each.predict_action_chunk, observation(each.config))
        for name, each in policies.items()
    }
    for name, times in in_turns(looks, args.repeats).items():
        yield Row("milliseconds", {"what": name, "median (p10 to p90)": Spread.of(times)})
    step = training_step(nano(), training_batch(policy.config, args.batch))
    times = in_turns({"step": step}, max(3, args.repeats // 3))["step"]
    name = f"training step, batch {args.batch}"
    yield Row("milliseconds", {"what": name, "median (p10 to p90)": Spread.of(times)})
