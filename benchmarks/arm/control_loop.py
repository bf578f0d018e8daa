# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does LeRobot's control loop keep its rate while a policy thinks?

    python benchmarks/bench_control_loop.py --policy.path=<pretrained_model> --robot.type=fake_arm --robot.id=x \\
        --task="pick up the red cube and place it on the blue disc" --fps=30 --duration=60 \\
        [--policy.background_inference=true | --inference.type=rtc] [--out=outputs/control_loop]

All flags but --out are `lerobot-rollout`'s, and so is the loop: its context, engine and base strategy run as they are, with
a robot around the robot that notes when each goal is sent. Any robot will do (`--robot.type=so101_follower --robot.port=...`
on an emulated bus); `fake_arm` (in this folder) needs nothing. With --journal=<the emulator's journal.jsonl>, the same figures
also as the servos saw them (`servos`), which do not depend on this process. Writes control_loop.json and control_loop.png:

* period: time between goals; jitter: its distance from the nominal period.
* missed goals: nominal periods in which no goal was sent.
* held ticks: ticks in which the arm held because a plan was late (background inference counts them itself).
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch


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


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Milliseconds."""
    if not len(values):
        return {}
    return {
        "p50": float(np.percentile(values, 50) * 1e3),
        "p99": float(np.percentile(values, 99) * 1e3),
        "max": float(values.max() * 1e3),
    }


def figures(times: list[float], fps: float, warm_up: int) -> dict[str, Any]:
    """Period, jitter and missed goals, without the first `warm_up` goals."""
    periods = np.diff(np.array(times))[warm_up:]
    nominal = 1 / fps
    return {
        "goals": len(times),
        "period_ms": percentiles(periods),
        "jitter_ms": percentiles(np.abs(periods - nominal)),
        "missed_goals": int(np.maximum(0, np.round(periods / nominal) - 1).sum()),
        "rate_hz": float(1 / periods.mean()) if len(periods) else 0.0,
    }


def plot(times: list[float], select: list[float], fps: float, path: Path, title: str) -> None:
    """Periods over time, and their distribution."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    moments, periods = np.array(times[1:]) - times[0], np.diff(np.array(times)) * 1e3
    figure, (over, spread) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=(2, 1))
    over.plot(moments, periods, ".", ms=2, label="time between goals")
    if select:
        each = np.linspace(0, moments[-1], len(select))
        over.plot(each, np.array(select) * 1e3, ".", ms=2, label="select_action")
    over.axhline(1e3 / fps, color="0.5", lw=0.8)
    over.set(xlabel="seconds", ylabel="ms", ylim=(0, max(60.0, float(periods.max()) * 1.05)), title=title)
    over.legend(loc="upper right", fontsize=8)
    jitter = np.sort(np.abs(periods - 1e3 / fps))
    spread.plot(jitter, 1 - np.arange(len(jitter)) / len(jitter))
    spread.axvline(10, color="r", lw=0.8)
    spread.axhline(0.01, color="0.5", lw=0.8)
    spread.set(xscale="symlog", yscale="log", xlabel="jitter, ms (red: 10 ms)", ylabel="share of goals above")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def seen_by_servos(journal: Path, since: float, joints: int, fps: float, warm_up: int) -> dict[str, Any]:
    """The figures of the goals in an emulator's journal, and how many lay outside the servos' limits."""
    from benchmarks.arm.plots import commands

    time.sleep(0.5)  # the emulator brings its journal to the disk every 0.2 s
    times, _, outside = commands(journal, joints)
    late = times >= since
    return {**figures(times[late].tolist(), fps, warm_up), "goals_outside_limits": int(outside[late].sum())}


def run(cfg: Any, out: Path, warm_up: int, journal: Path | None = None) -> dict[str, Any]:
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
        rollout = getattr(policy, "rollout", None)
        times, goals, cpu = list(robot.times), list(robot.goals), time.process_time() - began
        strategy.teardown(context)
    ahead = getattr(rollout, "ahead", None)
    result = {
        "command": " ".join(sys.argv),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "torch_threads": torch.get_num_threads(),
        "engine": cfg.inference.type,
        "background_inference": getattr(cfg.policy, "background_inference", False),
        **figures(times, cfg.fps, warm_up),
        "select_action_ms": percentiles(np.array(timed.seconds[warm_up:])),
        "held_ticks": None if ahead is None else ahead.late,
        "events": dict(policy._log.counts) if hasattr(policy, "_log") else {},
        "cpu_seconds_per_second": cpu / max(times[-1] - times[0], 1e-9),
        "largest_second_difference": float(np.abs(np.diff(goals, n=2, axis=0)).max()),
    }
    if journal is not None:
        result["servos"] = seen_by_servos(journal, since, len(goals[0]), cfg.fps, warm_up)
    out.mkdir(parents=True, exist_ok=True)
    (out / "control_loop.json").write_text(json.dumps(result, indent=1))
    plot(times, timed.seconds, cfg.fps, out / "control_loop.png", f"{cfg.inference.type}, {cfg.fps:g} Hz")
    return result


def main() -> None:
    """Takes --out and --warm_up from the command line and leaves the rest to LeRobot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/control_loop"))
    parser.add_argument("--warm_up", type=int, default=5, help="goals left out: the first plan is waited for")
    parser.add_argument("--journal", type=Path, help="of the arm's emulator")
    own, sys.argv[1:] = parser.parse_known_args()
    from lerobot.configs import parser as lerobot_parser
    from lerobot.rollout import RolloutConfig
    from lerobot.scripts import lerobot_rollout  # noqa: F401  registers LeRobot's robots and cameras
    from lerobot.utils.import_utils import register_third_party_plugins

    import benchmarks.arm.fake_arm  # noqa: F401  registers --robot.type=fake_arm

    register_third_party_plugins()

    @lerobot_parser.wrap()
    def measure(cfg: RolloutConfig) -> None:
        result = run(cfg, own.out, own.warm_up, own.journal)
        print(json.dumps({key: value for key, value in result.items() if key != "command"}, indent=1))

    measure()


if __name__ == "__main__":
    main()
