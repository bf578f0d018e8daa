# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Success of a checkpoint on the simulated SO-101, driven through LeRobot's real driver and an emulated servo bus.

The scenes are those of `lerobot-eval --env.type=so101_sim --env.split=seen --seed=200000`: same seeds, same limit of
steps, same success. What differs is the way between policy and physics: `so101_follower` with its calibration and its
servo ticks, the wire protocol, cameras as a LeRobot camera, and LeRobot's rollout (context, engine, `send_next_action`)
instead of its evaluation. The emulator's clock is the simulation's, one control period for each goal, so that a busy
machine changes nothing. Each episode begins with a new engine, whose task is the scene's. Goes on after a break.
`--quick` takes a small random checkpoint of its own.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

from tqdm import tqdm

from benchmarks.arm.rollout_flags import emulated_robot, rollout_config
from benchmarks.arm.toy_checkpoint import make_simulator_checkpoint
from benchmarks.harness.rows import CannotRunError, Mean, Row, Share, bar
from emulated_arm.arms import ARMS, calibration_of, travel_as_built
from emulated_arm.process import EmulatorProcess

ARM = "so101_follower"
FIRST_SEED, STEPS, FPS, SIZE = 200_000, 240, 20, 96
# Looks for success now and then; the score is a running maximum, and an episode that succeeded is over.
LOOK_EVERY = 5


def episode(context: Any, emulator: EmulatorProcess, seed: int, steps: int) -> dict[str, Any]:
    """One scene, from its start to success or the last step."""
    from lerobot.rollout.inference.sync import SyncInferenceEngine
    from lerobot.rollout.strategies.core import send_next_action
    from lerobot.utils.action_interpolator import ActionInterpolator

    emulator.remote.ask(f"reset {seed}")
    world = emulator.remote.ask("status")["world"]
    policy = context.policy
    policy.inference = SyncInferenceEngine(
        policy=policy.policy,
        preprocessor=policy.preprocessor,
        postprocessor=policy.postprocessor,
        dataset_features=context.data.dataset_features,
        ordered_action_keys=context.data.ordered_action_keys,
        task=world["task"],
        device="cpu",
        robot_type=ARM,
    )
    policy.inference.reset()
    interpolator = ActionInterpolator(multiplier=1)
    robot = context.hardware.robot_wrapper
    for step in range(steps):
        seen = robot.get_observation()
        processed = context.processors.robot_observation_processor(seen)
        send_next_action(processed, seen, context, interpolator)
        if step % LOOK_EVERY == LOOK_EVERY - 1 or step == steps - 1:
            robot.get_observation()  # waits until the goal has been carried out
            world = emulator.remote.ask("status")["world"]
            if world["succeeded"]:
                break
    found = {key: world[key] for key in ("task", "task_progress", "steps")}
    return {"seed": seed, "success": bool(world["succeeded"]), **found}


def context_of(checkpoint: Path, emulator: EmulatorProcess, calibration: Path) -> Any:
    """LeRobot's own rollout context, from the arguments of `lerobot-rollout`."""
    from lerobot.rollout.context import build_rollout_context

    argv = [f"--policy.path={checkpoint}", "--policy.guards=simulation"]
    argv += emulated_robot(ARM, emulator.port, calibration, ("wrist", "overhead"), SIZE, FPS)
    argv += ["--robot.num_read_retries=200", "--task=set anew for each scene"]
    argv += ["--return_to_initial_position=false"]
    return build_rollout_context(rollout_config(argv), Event())


QUICK = {"episodes": 1, "steps": 20}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, help="checkpoint folder")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--first_seed", type=int, default=FIRST_SEED)
    parser.add_argument("--split", default="seen", choices=("seen", "left_out"))
    parser.add_argument("--steps", type=int, default=STEPS)


def rows(args: Namespace) -> Iterator[Row]:
    if args.policy is None and not args.quick:
        raise CannotRunError("--policy is missing. Fix: name the pretrained_model folder of a wallwm policy")
    checkpoint = args.policy or make_simulator_checkpoint(args.out / "checkpoint")
    results = args.out / f"{args.split}.jsonl"
    found = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    wanted = [args.first_seed + i for i in range(args.episodes)]
    todo = [seed for seed in wanted if seed not in {row["seed"] for row in found}]
    if todo:
        calibration = args.out / "calibration" / "arm.json"
        calibration.parent.mkdir(exist_ok=True)
        kind = ARMS[ARM]
        calibration.write_text(json.dumps(calibration_of(kind, travel_as_built(kind, 0)), indent=4))
        options = {"world": "mujoco", "clock": "sim", "fps": FPS, "split": args.split}
        with EmulatorProcess(ARM, args.out / "port", calibration=calibration, **options) as emulator:
            context = context_of(checkpoint.resolve(), emulator, calibration)
            try:
                with results.open("a") as sink:
                    for seed in tqdm(todo, unit=" episodes"):
                        found.append(episode(context, emulator, seed, args.steps))
                        sink.write(json.dumps(found[-1]) + "\n")
                        sink.flush()
                outside = emulator.remote.ask("status")["goals_outside"]
            finally:
                context.hardware.robot_wrapper.inner.disconnect()
        yield bar("goals outside the servos' limits", outside, most=0)
        yield Row("guards", {"kind": "all", "counts": str(context.policy.policy.safety_report())})
    scored = [row for row in found if row["seed"] in wanted]
    cells = {"colour pairs": args.split, "success": Share(sum(row["success"] for row in scored), len(scored))}
    yield Row("episodes", {**cells, "Task Progress": Mean.of(row["task_progress"] for row in scored)})
