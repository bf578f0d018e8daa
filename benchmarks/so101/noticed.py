# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which signal tells that nothing was lifted: the gripper, the pose, or the world model's imagined end?

Plays scenes without retries. Where the policy believes that a lift is over, the simulator tells whether the cube is in the
hand, and each signal what it says of it. (A grasp may be left while the gripper still closes: too early to ask.) The area under
the ROC curve is the chance that an empty lift looks worse than a full one; 0.5 is worth nothing. Repeating the event's first
picture is the control of the imagined one.

    python -m benchmarks so101 noticed --policy=CHECKPOINT --episodes=50
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.harness.rows import CannotRunError, Row
from benchmarks.so101.bench import FIRST_SEED

QUICK = {"episodes": 1}
VERB, GRIPPER = "lift", 5
SIGNALS = ("the gripper arrives", "the arm does not", "imagined end", "first picture repeated")


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, help="checkpoint folder")
    parser.add_argument("--episodes", type=int, default=50)


def rows(args: Namespace) -> Iterator[Row]:
    if args.policy is None:
        raise CannotRunError("--policy is missing. Fix: name the pretrained_model folder of a wallwm policy")
    log = args.out / "lifts.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    seeds = range(FIRST_SEED + len(done), FIRST_SEED + args.episodes)
    with log.open("a") as sink:
        for seed, lifts in zip(seeds, play(args.policy, tqdm(seeds, unit=" episodes")), strict=True):
            done.append({"seed": seed, "lifts": lifts})
            sink.write(json.dumps(done[-1]) + "\n")
            sink.flush()
    lifts = [lift for episode in done for lift in episode["lifts"]]
    failed = np.array([not lift["held"] for lift in lifts], bool)
    yield Row("lifts that the policy took for done", {"all": len(lifts), "failed": int(failed.sum())})
    for signal in SIGNALS:
        values = np.array([lift[signal] for lift in lifts])
        yield Row("area under the ROC curve", {"signal": signal, **area(values[failed], values[~failed])})


def area(failed: np.ndarray, held: np.ndarray) -> dict[str, Any]:
    """Cells: the area, and 95 % by bootstrap over lifts."""
    if not len(failed) or not len(held):
        return {"area": None, "95 %": ""}

    def of(a: np.ndarray, b: np.ndarray) -> float:
        return float((a[:, None] > b).mean() + (a[:, None] == b).mean() / 2)

    rng = np.random.default_rng(0)
    drawn = [of(rng.choice(failed, len(failed)), rng.choice(held, len(held))) for _ in range(2000)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"area": of(failed, held), "95 %": f"{low:.2f} to {high:.2f}"}


def play(path: Path, seeds: Any) -> Iterator[list[dict[str, Any]]]:
    """The lifts of each scene."""
    import torch
    from lerobot.envs.utils import preprocess_observation

    from lerobot_env_so101_sim.env import So101PickPlaceEnv
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint

    checkpoint = Checkpoint(path)
    policy, env = checkpoint.policy, So101PickPlaceEnv()
    policy.config.planner, policy.config.retries, policy.config.save_predicted_video = "grammar", 0, True
    cameras = [key.removeprefix("observation.images.") for key in policy.config.image_features]
    for seed in seeds:
        seen, _ = env.reset(seed=seed)
        policy.reset()
        torch.manual_seed(seed)
        found: list[dict[str, Any]] = []
        told, before, over = np.zeros(6), (0, ""), False
        first, film, since = np.zeros(0), np.zeros(0), 0
        while not over:
            pictures = np.stack([seen["pixels"][camera] for camera in cameras])
            batch = {
                **seen,
                "pixels": {name: picture[None] for name, picture in seen["pixels"].items()},
                "agent_pos": seen["agent_pos"][None],
            }
            observation = {**preprocess_observation(batch), "task": [env.task]}
            with torch.no_grad():
                action = policy.select_action(checkpoint.preprocess(observation))
            cursor = policy.rollout.cursors[0]
            if cursor.number != before[0]:
                if before[1].startswith(VERB):
                    at = seen["agent_pos"]
                    shown = film[:, min(round(since / policy.config.video_stride), film.shape[1] - 1)]
                    found.append(
                        {
                            "held": env.holds(0),
                            SIGNALS[0]: -float(abs(at[GRIPPER] - told[GRIPPER])),
                            SIGNALS[1]: float(np.abs(at[:GRIPPER] - told[:GRIPPER]).max()),
                            SIGNALS[2]: float(np.abs(shown.astype(float) - pictures).mean()),
                            SIGNALS[3]: float(np.abs(first.astype(float) - pictures).mean()),
                        }
                    )
                before, since, first = (cursor.number, cursor.caption or ""), 0, pictures
                if cursor.caption:
                    film = imagined(policy, len(cameras))
            told = checkpoint.postprocess(action)[0].numpy()
            seen, _, terminated, truncated, _ = env.step(told)
            over, since = terminated or truncated, since + 1
        yield found
    env.close()


def imagined(policy: Any, cameras: int) -> np.ndarray:
    """What the policy imagines of the event that begins, every `video_stride` ticks ``(V, F, H, W, 3)`` uint8."""
    import torch

    with torch.no_grad():
        latents = torch.stack(policy.last_predicted_latents.chunk(cameras, dim=-1), 1)
        frames = policy.model.decode(latents.float())[0]
    return ((frames + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 1, 3, 4, 2).numpy()
