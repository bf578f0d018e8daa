# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Writes the simulated arm's calibration file, as an example of one and for training with sight cones.

    python -m lerobot_env_so101_sim.calibration --out so101_sim_calibration.json

On a real arm the same numbers come from a chessboard (intrinsics), a hand-eye calibration (camera poses) and the arm's
URDF (joints).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from lerobot_env_so101_sim.configuration import IMAGE_SIZE
from lerobot_env_so101_sim.env import MOTORS, So101PickPlaceEnv

# What both cameras can see lies on or above the table, within the arm's reach.
NEAR, FAR = 0.03, 0.8
# MuJoCo's cameras look along -z with y up; OpenCV's along z with y down.
TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def calibration(env: So101PickPlaceEnv) -> dict:
    """The calibration of an environment, ready for JSON.

    Args:
        env: The environment, unwrapped, with or without cameras.
    """
    from lerobot_env_so101_sim.rendering import place_wrist_camera

    model = env.simulation.model
    wrist = place_wrist_camera(model)
    joints, names = [], [f"{motor}.pos" for motor in MOTORS]
    zero, one = env.to_joints(np.zeros(6)), env.to_joints(np.ones(6))
    for index in range(5):  # the jaw carries no camera
        body = int(model.jnt_bodyid[index])
        joints.append(
            {
                "name": names[index],
                "origin": _transform(model.body_pos[body], model.body_quat[body]).tolist(),
                "axis": model.jnt_axis[index].tolist(),
                "radians_per_unit": float(one[index] - zero[index]),
                "radians_at_zero": float(zero[index]),
            }
        )
    mount = _transform(model.cam_pos[wrist], model.cam_quat[wrist])
    return {
        "length_unit": "m",
        "near": NEAR,
        "far": FAR,
        "cameras": {
            "observation.images.wrist": {
                **_intrinsics(float(model.cam_fovy[wrist])),
                "mounted_on": names[4],
                "pose": (mount @ TO_OPENCV).tolist(),
            },
            "observation.images.overhead": {
                **_intrinsics(float(model.vis.global_.fovy)),
                "mounted_on": "base",
                "pose": (_overhead_pose() @ TO_OPENCV).tolist(),
            },
        },
        "joints": joints,
    }


def _intrinsics(fovy: float) -> dict:
    focal = IMAGE_SIZE / 2 / np.tan(np.deg2rad(fovy) / 2)
    centre = (IMAGE_SIZE - 1) / 2
    return {"width": IMAGE_SIZE, "height": IMAGE_SIZE, "fx": focal, "fy": focal, "cx": centre, "cy": centre}


def _overhead_pose() -> np.ndarray:
    """The overhead camera in the base's frame, by MuJoCo's rule for free cameras, (4, 4)."""
    from lerobot_env_so101_sim.rendering import OVERHEAD

    azimuth, elevation = np.deg2rad([OVERHEAD["azimuth"], OVERHEAD["elevation"]])
    ahead = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack((right, np.cross(right, ahead), -ahead))
    pose[:3, 3] = np.array(OVERHEAD["lookat"]) - OVERHEAD["distance"] * ahead
    return pose


def _transform(position: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    import mujoco

    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, np.asarray(quaternion, np.float64))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.reshape(3, 3), position
    return pose


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    out = parser.parse_args().out
    env = So101PickPlaceEnv(cameras=False)
    unfinished = out.with_name(f".{out.name}.partial")
    unfinished.write_text(json.dumps(calibration(env), indent=2) + "\n", encoding="utf-8")
    unfinished.rename(out)
    env.close()
    print(out)


if __name__ == "__main__":
    main()
