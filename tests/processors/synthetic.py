# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Synthetic pick-and-place episodes whose boundaries are known, in several motion styles, spaces and rates."""

import numpy as np

from lerobot_wallwm.processors.source.episodes import Episode

PHASES = ("reach", "approach", "grasp", "lift", "move", "lower", "release", "retreat")
SECONDS = (1.2, 0.8, 0.5, 0.7, 1.1, 0.6, 0.5, 0.8)
TASK = "pick up the red cube and place it on the blue disc"


def pick_and_place(
    seed: int = 0,
    fps: float = 20,
    style: str = "smooth",
    space: str = "joint",
    noise: float = 0.0,
    index: int = 0,
    pause_s: float = 0.0,
) -> tuple[Episode, list[int]]:
    """One episode and its interior boundaries.

    Args:
        style: `smooth` (minimum jerk, rest to rest) or `linear` (constant speed between waypoints).
        space: `joint` (absolute joint targets, state lags) or `delta` (end-effector steps, state in another space).
        noise: Standard deviation added to state and action, in degrees (joint) or as a part of a step (delta).
        pause_s: A rest between phases, counted to the phase before.
    """
    rng = np.random.default_rng(seed)
    arm, grip = rng.uniform(-40, 40, 5), 60.0
    path, gripper, bounds = [arm.copy()], [grip], []
    for phase, seconds in zip(PHASES, SECONDS, strict=True):
        steps = max(3, round(seconds * rng.uniform(0.8, 1.25) * fps))
        goal, goal_grip = arm.copy(), grip
        if phase == "grasp":
            goal_grip = 8.0
        elif phase == "release":
            goal_grip = 60.0
        else:
            move = rng.normal(size=5)
            goal = arm + move / np.linalg.norm(move) * rng.uniform(25, 60) * seconds
        for step in range(1, steps + 1):
            t = step / steps
            blend = t**3 * (10 - 15 * t + 6 * t * t) if style == "smooth" else t
            path.append(arm + blend * (goal - arm))
            gripper.append(grip + blend * (goal_grip - grip))
        for _ in range(round(pause_s * fps)):
            path.append(goal.copy())
            gripper.append(goal_grip)
        arm, grip = goal, goal_grip
        bounds.append(len(path) - 1)
    command = np.column_stack([path, gripper])[1:]
    state = np.vstack([np.column_stack([path, gripper])[:1], command[:-1]])
    lag = np.exp(-1 / (0.04 * fps))
    for t in range(1, len(state)):
        state[t] = lag * state[t - 1] + (1 - lag) * state[t]
    # A finger that holds something does not reach its command.
    state[:, 5] = np.maximum(state[:, 5], 20.0)
    names = tuple(f"{n}.pos" for n in ("pan", "lift", "elbow", "flex", "roll", "gripper"))
    if space == "delta":
        step = np.diff(np.asarray(path), axis=0)
        mix = np.random.default_rng(99).normal(size=(5, 6))
        open_or_closed = np.where(
            np.diff(np.asarray(gripper), prepend=60.0) != 0, np.nan, np.sign(30 - np.asarray(gripper))
        )
        last = -1.0
        for t, value in enumerate(open_or_closed):
            # A binary command switches at once when the finger starts to move.
            last = (
                (1.0 if np.asarray(gripper)[min(t + 1, len(gripper) - 1)] < gripper[max(t - 1, 0)] else -1.0)
                if np.isnan(value)
                else value
            )
            open_or_closed[t] = last
        scaled = step @ mix / np.abs(step @ mix).max()
        command = np.column_stack([scaled, open_or_closed[1:]])
        command[:, :6] += rng.normal(0, noise, command[:, :6].shape) if noise else 0
        joints = np.asarray(path)[:-1] @ mix[:, :5].T @ np.eye(5)
        state = np.column_stack([np.deg2rad(joints), state[:, 5] / 100])
        episode = Episode(
            index, TASK, fps, state, command, tuple(f"j{i}" for i in range(5)) + ("finger",), ()
        )
    else:
        if noise:
            command[:, :5] += rng.normal(0, noise, command[:, :5].shape)
            state[:, :5] += rng.normal(0, noise, state[:, :5].shape)
        episode = Episode(index, TASK, fps, state, command, names, names)
    return episode, bounds[:-1]


def record(root, *, video: bool, cameras=("top",), **sizes):
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    first, _ = pick_and_place(0, 10)
    names = list(first.action_names)
    joints = {"dtype": "float32", "shape": (6,), "names": names}
    camera = {
        "dtype": "video" if video else "image",
        "shape": (32, 32, 3),
        "names": ["height", "width", "channels"],
    }
    dataset = LeRobotDataset.create(
        "test/other",
        fps=10,
        root=root,
        use_videos=video,
        features={
            **{f"observation.images.{name}": camera for name in cameras},
            "observation.state": joints,
            "action": joints,
            "observation.force": {"dtype": "float32", "shape": (1,), "names": None},
            "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        },
        rgb_encoder=RGBEncoderConfig(vcodec="h264", preset="ultrafast") if video else None,
        **sizes,
    )
    rng = np.random.default_rng(0)
    for seed, task in enumerate(
        ("pick up the cup and place it on the plate", "put the pen in the box", "lift the cup")
    ):
        episode, _ = pick_and_place(seed, 10)
        for state, action in zip(episode.state, episode.action, strict=True):
            dataset.add_frame(
                {
                    **{
                        f"observation.images.{name}": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                        for name in cameras
                    },
                    "observation.state": state.astype(np.float32),
                    "action": action.astype(np.float32),
                    "observation.force": rng.normal(size=1).astype(np.float32),
                    "next.done": np.array([False]),
                    "task": task,
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return root
