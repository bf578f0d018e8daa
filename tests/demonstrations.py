# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The same demonstrations as different robots write them: units, steps or positions, rotations in every form."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy.spatial.transform import Rotation
from tiny_arm import CAMERAS

FPS = 20
FRAMES = 60
# How the four forms name their numbers, and write a rotation.
FORMS = {
    "euler": (["roll", "pitch", "yaw"], lambda r: r.as_euler("xyz")),
    "euler in degrees": (["roll", "pitch", "yaw"], lambda r: r.as_euler("xyz", degrees=True)),
    "axis-angle": (["rx", "ry", "rz"], lambda r: r.as_rotvec()),
    "quaternion": (["qx", "qy", "qz", "qw"], lambda r: r.as_quat()),
    "6d": (
        [f"rot6d_{i}" for i in range(6)],
        lambda r: np.concatenate([r.as_matrix()[..., 0], r.as_matrix()[..., 1]], -1),
    ),
}


def smooth(seed: int, frames: int, width: int, size: float = 1.0) -> np.ndarray:
    """Way points joined smoothly, ``(frames, width)``."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-size, size, (5, width))
    at = np.linspace(0, 3.999, frames)
    k, t = at.astype(int), at - at.astype(int)
    blend = (t**3 * (10 - 15 * t + 6 * t * t))[:, None]
    return points[k] + blend * (points[k + 1] - points[k])


def grip(frames: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Open, closed for a while, open again ``(frames, 1)``."""
    unit = np.interp(np.arange(frames) / frames, [0, 0.3, 0.4, 0.75, 0.85, 1], [1, 1, 0, 0, 1, 1])
    return (low + unit * (high - low))[:, None]


def turning_poses(
    form: str, seed: int, episodes: int = 3
) -> tuple[list[str], list[tuple[np.ndarray, np.ndarray]]]:
    """A hand that turns through half a turn and beyond, about all axes: names, and ``(action, state)`` of each episode."""
    numbers, write = FORMS[form]
    out = []
    for episode in range(episodes):
        rng = np.random.default_rng([seed, episode])
        place = 0.4 + smooth(1000 * seed + episode, FRAMES + 2, 3, 0.2)
        axis = rng.normal(size=3)
        angle = np.linspace(np.pi - 1.0, np.pi + 1.0, FRAMES + 2)
        turn = Rotation.from_rotvec(angle[:, None] * axis / np.linalg.norm(axis)) * Rotation.from_rotvec(
            smooth(7 * seed + episode, FRAMES + 2, 3, 0.3)
        )
        rows = np.concatenate([place, write(turn), grip(FRAMES + 2)], 1)
        out.append((rows[2:], rows[:-2]))  # the state comes two frames after its command
    return [f"ee.{name}" for name in ["x", "y", "z", *numbers, "gripper"]], out


def hand_steps(
    seed: int, length: float = 1.0, top: float = 1.0, episodes: int = 3
) -> tuple[list[str], list[str], list[tuple[np.ndarray, np.ndarray]]]:
    """Steps of the hand in metres (times ``length``) and radians, the gripper from 0 to ``top``; state 8-D, action 7-D."""
    out = []
    for episode in range(episodes):
        pose = np.hstack(
            [
                smooth(seed + 10 * episode, FRAMES + 1, 3, 0.15),
                smooth(seed + 10 * episode + 5, FRAMES + 1, 3, 0.6),
            ]
        )
        finger = grip(FRAMES + 1, 0.0, top)
        pose[:, :3] *= length
        turn = Rotation.from_euler("xyz", pose[:-1, 3:]).as_quat(scalar_first=True)
        state = np.hstack([pose[:-1, :3], turn, finger[:-1]])
        out.append((np.hstack([np.diff(pose, axis=0), finger[1:]]), state))
    names = (
        ["x", "y", "z", "qw", "qx", "qy", "qz", "gripper"],
        ["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"],
    )
    return *names, out


class Episodes(dict):
    """As much of LeRobot's episode table as is read."""

    @property
    def column_names(self) -> list[str]:
        return list(self)


def metadata(
    root: Path,
    action_names: list[str] | None,
    state_names: list[str] | None,
    rows: list[tuple[np.ndarray, np.ndarray]],
) -> SimpleNamespace:
    """Writes the rows of a dataset; returns its metadata, as far as the policy reads them."""
    folder = root / "data" / "chunk-000"
    folder.mkdir(parents=True)
    action, state = (np.concatenate([pair[i] for pair in rows]).astype(np.float32) for i in (0, 1))
    lengths = [len(pair[0]) for pair in rows]
    columns = {
        "action": list(action),
        "observation.state": list(state),
        "episode_index": np.repeat(np.arange(len(rows)), lengths),
        "frame_index": np.concatenate([np.arange(n) for n in lengths]),
    }
    pq.write_table(pa.table(columns), folder / "file-000.parquet")
    image = {"dtype": "video", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    features: dict[str, Any] = dict.fromkeys(CAMERAS, image)
    stats = {}
    for key, values, names in (("action", action, action_names), ("observation.state", state, state_names)):
        features[key] = {"dtype": "float32", "shape": (values.shape[1],), "names": names}
        stats[key] = {
            name: torch.from_numpy(np.asarray(f(values, axis=0), np.float32))
            for name, f in (("min", np.min), ("max", np.max), ("mean", np.mean), ("std", np.std))
        }
    ends = np.cumsum(lengths)
    table = {
        "length": lengths,
        "dataset_from_index": (ends - lengths).tolist(),
        "dataset_to_index": ends.tolist(),
    }
    return SimpleNamespace(
        features=features,
        stats=stats,
        fps=FPS,
        episodes=Episodes(table),
        root=root,
        camera_keys=CAMERAS,
        tasks=None,
    )


LEKIWI = [
    f"arm_{joint}.pos"
    for joint in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
]
LEKIWI += ["arm_gripper.pos", "x.vel", "y.vel", "theta.vel"]


def driving(seed: int, episodes: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """LeKiwi: its arm in degrees, and a base that drives forwards at 0.2 m/s and then turns at 30 degrees/s."""
    out = []
    for episode in range(episodes):
        arm = np.hstack([smooth(seed + 10 * episode, FRAMES + 1, 5, 40.0), grip(FRAMES + 1, high=100.0)])
        base = np.zeros((FRAMES + 1, 3))
        base[5 : FRAMES // 2, 0], base[FRAMES // 2 : -5, 2] = 0.2, 30.0
        rows = np.hstack([arm, base])
        out.append((rows[1:], rows[:-1]))
    return out
