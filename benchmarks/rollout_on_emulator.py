# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Runs the unmodified `lerobot-rollout` on an emulated arm and writes down what the servos received.

    python benchmarks/rollout_on_emulator.py --arm=koch_follower --seconds=20
    python benchmarks/rollout_on_emulator.py --arm=so101_follower --policy=<checkpoint> --seconds=60 -- --policy.planner=grammar

Without a checkpoint, a tiny random policy swings the arm. What follows ``--`` goes to `lerobot-rollout`. In OUT/ARM:
``rollout.log``, ``journal.jsonl`` (goals), ``positions.jsonl``, ``events.jsonl``, ``safety.jsonl``, ``run.json`` (the
command and the loop's beat), ``plot.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from arm_plots import commands, draw, periods
from swinging_checkpoint import make_checkpoint

from emulated_arm.arms import ARMS, calibration_of, travel_as_built
from emulated_arm.process import EmulatorProcess

# Positions are looked at so often.
LOOK_S = 0.05


def start_pose(checkpoint: Path) -> dict[str, float]:
    """A pose in the middle of what the checkpoint's data hold, by joint; empty where it does not know."""
    learned = json.loads((checkpoint / "config.json").read_text())
    limits, names = learned.get("motion_limits") or {}, learned.get("state_feature_names")
    if not names or "state_low" not in limits:
        return {}
    middle = (np.array(limits["state_low"]) + np.array(limits["state_high"])) / 2
    return {name.removesuffix(".pos"): float(value) for name, value in zip(names, middle, strict=True)}


def cameras_of(checkpoint: Path, port: Path, fps: int) -> str:
    """The robot's cameras, as the checkpoint knows them."""
    features = json.loads((checkpoint / "config.json").read_text())["input_features"]
    views = []
    for key, feature in features.items():
        if feature["type"] == "VISUAL":
            name, (_, height, width) = key.rsplit(".", 1)[1], feature["shape"]
            views.append(
                f"{name}: {{type: emulated, port: {port}, view: {name}, width: {width}, height: {height}, fps: {fps}}}"
            )
    return "{" + ", ".join(views) + "}"


def run(
    arm: str,
    out: Path,
    policy: Path | None,
    seconds: float,
    fps: int,
    task: str,
    world: str,
    extra: list[str],
) -> dict[str, Any]:
    """Runs one rollout.

    Returns:
        What is in ``run.json``.

    Raises:
        RuntimeError: `lerobot-rollout` failed; the message names its log.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in ("journal.jsonl", "positions.jsonl", "events.jsonl", "safety.jsonl"):
        (out / old).unlink(missing_ok=True)
    kind = ARMS[arm]
    travels = travel_as_built(kind, 0)
    calibration = out / "calibration" / "arm.json"
    calibration.parent.mkdir(exist_ok=True)
    calibration.write_text(json.dumps(calibration_of(kind, travels), indent=4))
    checkpoint = policy or make_checkpoint(out / "checkpoint", kind, travels)
    port, journal = out / "port", out / "journal.jsonl"
    options = {"calibration": calibration, "journal": journal, "world": world}
    with EmulatorProcess(arm, port, **options) as emulator:
        pose = " ".join(f"{joint}={value:.2f}" for joint, value in start_pose(checkpoint).items())
        if world == "first_order":
            emulator.remote.ask(f"hand move {pose} 0.5" if pose else "hand middle 0.5")
            emulator.remote.ask("hand wait")
            emulator.remote.ask("hand release")
        command = [
            str(Path(sys.executable).with_name("lerobot-rollout")),
            f"--policy.path={checkpoint}",
            "--policy.device=cpu",
            f"--policy.event_log={out / 'events.jsonl'}",
            f"--policy.safety_log={out / 'safety.jsonl'}",
            f"--robot.type={arm}",
            f"--robot.port={port}",
            "--robot.id=arm",
            f"--robot.calibration_dir={calibration.parent}",
            f"--robot.cameras={cameras_of(checkpoint, port, fps)}",
            f"--task={task}",
            f"--fps={fps}",
            f"--duration={seconds:g}",
            "--return_to_initial_position=false",
            *extra,
        ]
        with (out / "rollout.log").open("wb") as log, (out / "positions.jsonl").open("w") as places:
            rollout = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
            while rollout.poll() is None:
                status = emulator.remote.ask("status")
                place = [joint["position"] for joint in status["joints"].values()]
                places.write(json.dumps({"t": round(time.time(), 4), "position": place}) + "\n")
                time.sleep(LOOK_S)
        status = emulator.remote.ask("status")
        emulator.remote.ask("flush")
    if rollout.returncode:
        raise RuntimeError(
            f"lerobot-rollout ended with code {rollout.returncode}. Fix: see {out / 'rollout.log'}"
        )
    times, _, outside = commands(journal, len(kind.joints))
    facts = {
        "arm": arm,
        "fps": fps,
        "command": [word.replace(str(Path.cwd()) + os.sep, "") for word in command],
        "goals_outside_limits": int(outside.sum()),
        "torque_at_end": [joint["torque"] for joint in status["joints"].values()],
        **{key: round(value, 3) for key, value in periods(times, fps).items()},
    }
    (out / "run.json").write_text(json.dumps(facts, indent=4))
    return facts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arm", required=True, choices=[n for n, a in ARMS.items() if not a.leader])
    parser.add_argument("--policy", type=Path, help="checkpoint folder")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--task", default="pick up the red cube and place it on the black disc")
    parser.add_argument("--world", default="first_order", choices=("first_order", "mujoco"))
    parser.add_argument("--out", type=Path, default=Path("outputs/arms"))
    options, extra = parser.parse_known_args()
    out = (options.out / options.arm).resolve()
    policy = options.policy.resolve() if options.policy else None
    extra = [word for word in extra if word != "--"]
    facts = run(options.arm, out, policy, options.seconds, options.fps, options.task, options.world, extra)
    print(json.dumps({key: value for key, value in facts.items() if key != "command"}, indent=4))
    draw(out, out / "plot.png")
    print(out / "plot.png")


if __name__ == "__main__":
    main()
