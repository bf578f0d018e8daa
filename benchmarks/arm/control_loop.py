# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does LeRobot's control loop keep its rate while a policy thinks?

    python -m benchmarks arm control_loop --policy.path=<pretrained_model> --robot.type=fake_arm --robot.id=x \\
        --task="pick up the red cube and place it on the blue disc" --fps=30 --duration=60 \\
        [--policy.background_inference=true | --inference.type=rtc]

All flags but the benchmark's own are `lerobot-rollout`'s, and so is the loop: its context, engine and base strategy run as
they are, with a robot around the robot that notes when each goal is sent. Any robot will do
(`--robot.type=so101_follower --robot.port=...` on an emulated bus); `fake_arm` needs nothing. With --journal=<the
emulator's journal.jsonl>, the same figures also as the servos saw them, which do not depend on this process.

* period: time between goals; jitter: its distance from the nominal period.
* missed goals: nominal periods in which no goal was sent.
* held ticks: ticks in which the arm held because a plan was late (background inference counts them itself).

`--quick` makes a small random checkpoint of its own and runs it on `fake_arm` for three seconds.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch

from benchmarks.arm.rollout_flags import rollout_config
from benchmarks.arm.toy_checkpoint import SIZE, make_checkpoint
from benchmarks.harness.rows import CannotRunError, Row, Spread
from emulated_arm.arms import ARMS, travel_as_built
from emulated_arm.journal import read_journal

PASSES_ON = True


class TimedRobot:
    """A robot wrapper that notes when goals are sent, and which; all else is the wrapper's."""

    def __init__(self, wrapper: Any):
        self._wrapper = wrapper
        self.times: list[float] = []
        self.goals: list[list[float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapper, name)

    def send_action(self, action: dict[str, Any]) -> Any:
        """Sends, and notes the moment."""
        sent = self._wrapper.send_action(action)
        self.times.append(time.perf_counter())
        self.goals.append([float(value) for value in action.values()])
        return sent


class TimedPolicy:
    """Times each call of `select_action`, without changing it."""

    def __init__(self, policy: Any):
        self.seconds: list[float] = []
        call = policy.select_action

        def timed(batch: dict[str, Any], **kwargs: Any) -> torch.Tensor:
            began = time.perf_counter()
            action = call(batch, **kwargs)
            self.seconds.append(time.perf_counter() - began)
            return action

        policy.select_action = timed


def commands(journal: Path, joints: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Commands of all joints at once, as a sync write gives them, from the emulator's journal.

    Returns:
        Times ``(T,)`` in seconds since 1970, of each command's first servo; ticks ``(T, joints)``; and whether each goal
        lay outside its servo's limits. A command that misses a servo is left out.
    """
    times, rows, outside = [], [], []
    row: dict[int, dict] = {}
    for goal in read_journal(journal, "goal"):
        if goal["id"] in row:
            row = {}
        row[goal["id"]] = goal
        if len(row) == joints:
            ordered = [row[i] for i in sorted(row)]
            times.append(ordered[0]["t"])
            rows.append([g["ticks"] for g in ordered])
            outside.append([g["outside"] for g in ordered])
            row = {}
    shape = (len(rows), joints)
    return (np.array(times), np.array(rows, float).reshape(shape), np.array(outside, bool).reshape(shape))


def figures(times: list[float], fps: float, warm_up: int) -> dict[str, Any]:
    """Cells: period, jitter and missed goals, without the first `warm_up` goals."""
    periods, nominal = np.diff(np.array(times))[warm_up:], 1 / fps
    jitter = np.abs(periods - nominal) * 1e3
    return {
        "goals": len(times),
        "period, ms": Spread.of(periods * 1e3),
        "jitter, ms, median": float(np.median(jitter)),
        "jitter, 99 %": float(np.percentile(jitter, 99)),
        "jitter, most": float(jitter.max()),
        "missed goals": int(np.maximum(0, np.round(periods / nominal) - 1).sum()),
    }


def rollout(cfg: Any, args: Namespace) -> Iterator[Row]:
    """A rollout, as `lerobot-rollout --strategy.type=base` runs it."""
    from lerobot.rollout.context import build_rollout_context
    from lerobot.rollout.strategies import create_strategy

    context = build_rollout_context(cfg, Event())
    robot = TimedRobot(context.hardware.robot_wrapper)
    context.hardware.robot_wrapper = robot
    policy = context.policy.policy
    timed = TimedPolicy(policy)
    strategy = create_strategy(cfg.strategy)
    began, since = time.process_time(), time.time()
    try:
        strategy.setup(context)
        strategy.run(context)
    finally:
        late = getattr(getattr(policy, "rollout", None), "late", None)
        times, goals, cpu = list(robot.times), list(robot.goals), time.process_time() - began
        strategy.teardown(context)
    if len(times) < args.warm_up + 3:
        raise CannotRunError(f"only {len(times)} goals were sent. Fix: a longer --duration")
    title = f"{cfg.inference.type}, {cfg.fps:g} Hz"
    yield Row(title, {"seen by": "this process", **figures(times, cfg.fps, args.warm_up)})
    if args.journal is not None:
        time.sleep(0.5)  # the emulator brings its journal to the disk every 0.2 s
        sent, _, outside = commands(args.journal, len(goals[0]))
        own = sent >= since
        cells = figures(sent[own].tolist(), cfg.fps, args.warm_up)
        yield Row(title, {"seen by": "the servos", **cells, "goals outside limits": int(outside[own].sum())})
    cells = {"held ticks": late}
    select = [seconds * 1e3 for seconds in timed.seconds[args.warm_up :]]
    if select:  # the RTC engine asks for chunks instead
        cells["select_action, ms"] = Spread.of(select)
    cells["processor seconds a second"] = cpu / max(times[-1] - times[0], 1e-9)
    cells["largest second difference"] = float(np.abs(np.diff(goals, n=2, axis=0)).max())
    yield Row("policy", cells)


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--warm_up", type=int, default=5, help="goals left out: the first plan is waited for")
    parser.add_argument("--journal", type=Path, help="of the arm's emulator")


def rows(args: Namespace) -> Iterator[Row]:
    import benchmarks.arm.fake_arm.fakearm  # noqa: F401  registers --robot.type=fake_arm

    argv = args.others
    if args.quick and not args.others:
        arm = ARMS["so101_follower"]
        checkpoint = make_checkpoint(args.out / "checkpoint", arm, travel_as_built(arm, 0))
        argv = [f"--policy.path={checkpoint}", "--policy.device=cpu", "--policy.camera_timeout_s=0"]
        argv += ["--robot.type=fake_arm", "--robot.id=x", f"--robot.size={SIZE}"]
        argv += ["--task=swing the arm", "--fps=30", "--duration=3"]
    yield from rollout(rollout_config(argv), args)
