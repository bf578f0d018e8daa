# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Synthetic pick-and-place episodes whose boundaries are known, in several motion styles, spaces and rates."""

import numpy as np

from lerobot_wallwm.processors.source.episodes import Episode

PHASES = ("reach", "approach", "grasp", "lift", "move", "lower", "release", "retreat")
SECONDS = (1.2, 0.8, 0.5, 0.7, 1.1, 0.6, 0.5, 0.8)
NAMES = tuple(f"{joint}.pos" for joint in ("pan", "lift", "elbow", "flex", "roll", "gripper"))
TASK = "pick up the red cube and place it on the blue disc"


def pick_and_place(
    seed: int = 0, fps: float = 20, style="smooth", space="joint", noise=0.0, index=0, pause_s=0.0
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
        goal, goal_grip = arm.copy(), {"grasp": 8.0, "release": 60.0}.get(phase, grip)
        if phase not in ("grasp", "release"):
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
    if space == "delta":
        step = np.diff(np.asarray(path), axis=0)
        mix = np.random.default_rng(99).normal(size=(5, 6))
        finger = np.asarray(gripper)
        open_or_closed = np.sign(30 - finger)
        for t in np.flatnonzero(np.diff(finger, prepend=60.0)):
            # A binary command switches at once when the finger starts to move.
            closes = finger[min(t + 1, len(finger) - 1)] < finger[max(t - 1, 0)]
            open_or_closed[t] = 1.0 if closes else -1.0
        scaled = step @ mix / np.abs(step @ mix).max()
        command = np.column_stack([scaled, open_or_closed[1:]])
        command[:, :6] += rng.normal(0, noise, command[:, :6].shape) if noise else 0
        joints = np.asarray(path)[:-1] @ mix[:, :5].T @ np.eye(5)
        state = np.column_stack([np.deg2rad(joints), state[:, 5] / 100])
        names = (*(f"j{i}" for i in range(5)), "finger")
        episode = Episode(index, TASK, fps, state, command, names, ())
    else:
        if noise:
            command[:, :5] += rng.normal(0, noise, command[:, :5].shape)
            state[:, :5] += rng.normal(0, noise, state[:, :5].shape)
        episode = Episode(index, TASK, fps, state, command, NAMES, NAMES)
    return episode, bounds[:-1]


def record(root, *, video: bool, cameras=("top",), **sizes):
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    joints = {"dtype": "float32", "shape": (6,), "names": list(NAMES)}
    picture = {"dtype": "video" if video else "image", "shape": (32, 32, 3)}
    picture["names"] = ["height", "width", "channels"]
    keys = [f"observation.images.{name}" for name in cameras]
    features = {**dict.fromkeys(keys, picture), "observation.state": joints, "action": joints}
    features["observation.force"] = {"dtype": "float32", "shape": (1,), "names": None}
    features["next.done"] = {"dtype": "bool", "shape": (1,), "names": None}
    encoder = RGBEncoderConfig(vcodec="h264", preset="ultrafast") if video else None
    files = {"root": root, "use_videos": video, "rgb_encoder": encoder, **sizes}
    dataset = LeRobotDataset.create("test/other", fps=10, features=features, **files)
    rng = np.random.default_rng(0)
    tasks = ("pick up the cup and place it on the plate", "put the pen in the box", "lift the cup")
    for seed, task in enumerate(tasks):
        episode, _ = pick_and_place(seed, 10)
        for state, action in zip(episode.state, episode.action, strict=True):
            frame = {key: rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for key in keys}
            frame |= {"observation.state": state.astype(np.float32), "action": action.astype(np.float32)}
            frame |= {"observation.force": rng.normal(size=1).astype(np.float32)}
            dataset.add_frame({**frame, "next.done": np.array([False]), "task": task})
        dataset.save_episode()
    dataset.finalize()
    return root
