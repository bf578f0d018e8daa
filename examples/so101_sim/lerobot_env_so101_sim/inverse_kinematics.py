# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Joint angles for a vertical grasp, by so101-nexus' own damped least squares."""

from __future__ import annotations

import numpy as np

# Our choice: enough for 0.1 mm from any posture of the workspace; one call takes about 10 ms.
ITERATIONS = 120
# More than the package's 0.01, so that the gripper is vertical where the arm can be; high up it may lean.
ORIENTATION_WEIGHT = 0.02
# The arm's first axis; the pan and roll joints that point the gripper follow from it directly.
BASE = (0.0388353, 0.0)
# At the height of a grasp the solution is exact; only the highest waypoints use this margin.
POSITION_TOLERANCE = 0.008


class VerticalGraspSolver:
    """Solves for the five arm joints that bring the tool, pointing straight down, to a place and a yaw.

    Args:
        simulation: A so101-nexus MuJoCo environment; its state is never touched.
    """

    def __init__(self, simulation) -> None:
        import mujoco

        self._model = simulation.model
        self._scratch = mujoco.MjData(simulation.model)
        self._tool = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_SITE, "gripperframe")
        self._low = simulation.action_space.low[:5].astype(np.float64)
        self._high = simulation.action_space.high[:5].astype(np.float64)

    def solve(self, position: np.ndarray, yaw: float, guess: np.ndarray) -> np.ndarray:
        """Finds the arm posture.

        Args:
            position: Where the point between the finger tips goes, (3,), metres, world frame.
            yaw: Direction in which the jaw closes, radians about the world's vertical.
            guess: Arm joints to start from, (5,), radians; only the lift, elbow and wrist flex of it matter.

        Returns:
            Arm joints, (5,), radians.

        Raises:
            ValueError: The arm cannot get within ``POSITION_TOLERANCE`` of the position.
        """
        import mujoco
        from so101_nexus.kinematics import ee_ik_delta_q

        target = np.zeros(4)
        mujoco.mju_mat2Quat(target, _downward(yaw).ravel())
        heading = np.arctan2(position[1] - BASE[1], position[0] - BASE[0])
        joints = guess.copy()
        joints[0] = -heading
        joints[4] = (yaw - heading) % (2 * np.pi) - np.pi
        joints = np.clip(joints, self._low, self._high)
        linear, angular = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        current = np.zeros(4)
        for _ in range(ITERATIONS):
            self._forward(joints)
            mujoco.mj_jacSite(self._model, self._scratch, linear, angular, self._tool)
            mujoco.mju_mat2Quat(current, self._scratch.site_xmat[self._tool])
            change = ee_ik_delta_q(
                np.vstack([linear[:, :5], angular[:, :5]]),
                self._scratch.site_xpos[self._tool],
                current,
                position,
                target,
                orientation_weight=ORIENTATION_WEIGHT,
            )
            joints = np.clip(joints + change, self._low, self._high)
            if np.abs(change).max() < 1e-5:
                break
        self._forward(joints)
        miss = float(np.linalg.norm(self._scratch.site_xpos[self._tool] - position))
        if miss > POSITION_TOLERANCE:
            raise ValueError(f"no posture reaches {np.round(position, 3)}: {miss * 1000:.1f} mm short")
        return joints

    def _forward(self, joints: np.ndarray) -> None:
        import mujoco

        self._scratch.qpos[:5] = joints
        mujoco.mj_kinematics(self._model, self._scratch)
        mujoco.mj_comPos(self._model, self._scratch)


def _downward(yaw: float) -> np.ndarray:
    """The tool frame that points down (its z) and closes along ``yaw`` (its x), as a rotation matrix (3, 3)."""
    closing = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    return np.stack([closing, np.cross(down, closing), down], axis=1)
