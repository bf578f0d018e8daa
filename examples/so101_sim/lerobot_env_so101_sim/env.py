# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The gymnasium environment: so101-nexus' pick and place, in LeRobot's units, rendered fast."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from lerobot_env_so101_sim.colours import CUBE_COLOURS, DISC_COLOURS, instruction, pairs_of
from lerobot_env_so101_sim.configuration import CAMERAS, DISTURBANCES, FPS, IMAGE_SIZE
from lerobot_env_so101_sim.rendering import SceneCameras, choose_backend, speed_up_rendering
from lerobot_env_so101_sim.task_progress import SceneTruth, StepsProgress, TaskProgress

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
CUBE_HALF_EDGE = 0.015
DISC_RADIUS = 0.05

# Our choice: a ring sector in front of the arm that a vertical gripper reaches everywhere. The package's default
# (radius 0.1 to 0.3 m about x = 0.15, plus and minus 90 degrees) holds places the arm cannot reach from above.
SPAWN = {
    "spawn_center": (0.04, 0.0),
    "spawn_min_radius": 0.17,
    "spawn_max_radius": 0.27,
    "spawn_angle_half_range_deg": 45.0,
}
# The arm starts near this posture (degrees, gripper 0 to 100), out of the overhead camera's way.
HOME = np.array([0.0, -60.0, 50.0, 75.0, -90.0, 25.0])
HOME_SPREAD = np.array([15.0, 10.0, 10.0, 8.0, 15.0, 20.0])


@dataclass(frozen=True)
class Placing:
    """Where an object is to stand.

    Attributes:
        at: (3,) metres, of the middle of its underside.
        slack: How far beside it may stand along each axis, metres.
    """

    at: np.ndarray
    slack: float


# How near the tool comes before the cube is moved, how far that is, and how high it is when it is taken; metres.
NEAR, MOVED, RAISED = 0.07, 0.03, 0.03


class So101PickPlaceEnv(gym.Env):
    """Pick up the cube, place it on the disc.

    Observations are ``{"pixels": {"wrist", "overhead"}: (96, 96, 3) uint8, "agent_pos": (6,) float32}``; actions are
    (6,) absolute joint targets. Both are in LeRobot's SO-101 units: degrees, and 0 (closed) to 100 for the gripper.
    Within a split, the seed alone fixes colour pair, layout and start posture. An episode ends when the cube rests on the disc and
    the arm has retreated, or after ``episode_length`` steps. ``info["is_success"]`` is so101-nexus' own predicate:
    the cube has rested within the disc for 0.2 s, carried by the table alone.

    Args:
        split: Colour pairs to draw from, see ``colours.SPLITS``.
        episode_length: Steps after which an episode is cut off.
        progress_log: File to append one JSON line per finished episode to.
        render_mode: Only ``rgb_array`` exists.
        cameras: False leaves the images black and needs no OpenGL: ten times faster, for judging joint motion alone.
        control_rate: Steps a second; other rates than the recordings' are for worlds that run beside a real clock.
        disturb: Once an episode the cube is `moved`: 3 cm aside when the tool comes near; or `taken` out of the raised hand
            and put back to where it stood. ``none`` leaves it alone.

    Raises:
        ValueError: Unknown split or disturbance, or a render mode other than ``rgb_array``.
        RuntimeError: No OpenGL backend works; the message names the packages to install.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}
    # How many objects a task moves at most.
    MOST_STEPS = 1
    # Whether things stand so close together that the demonstrator takes care of what is beside.
    crowded = False

    def __init__(
        self,
        split: str = "seen",
        episode_length: int = 240,
        progress_log: str | Path | None = None,
        render_mode: str = "rgb_array",
        cameras: bool = True,
        control_rate: int = FPS,
        disturb: str = "none",
    ) -> None:
        if disturb not in DISTURBANCES or (disturb != "none" and self.MOST_STEPS > 1):
            raise ValueError(f"disturb={disturb!r} is unknown here; PickPlace-v0 has {DISTURBANCES}")
        if render_mode != "rgb_array":
            raise ValueError(f"render_mode={render_mode!r} is not supported; use 'rgb_array'")
        self._choose_split(split)
        self._episode_length = episode_length
        # LeRobot asks for this name: the most that any episode may have.
        self._max_episode_steps = episode_length * self.MOST_STEPS
        self._progress_log = Path(progress_log) if progress_log else None
        self._disturb, self.disturbed_at = disturb, -1
        self.render_mode = render_mode
        if cameras:
            choose_backend()
        self.simulation = self._build(control_rate)
        self._cameras: SceneCameras | None = None
        if cameras:
            speed_up_rendering(self.simulation.model)
            self._cameras = SceneCameras(self.simulation.model, IMAGE_SIZE)
        bounds = self.simulation.action_space
        # Of the object to be grasped.
        self.half_edge = CUBE_HALF_EDGE
        self._gripper_limits = (float(bounds.low[-1]), float(bounds.high[-1]))

        picture = gym.spaces.Box(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        self.observation_space = gym.spaces.Dict(
            {
                "pixels": gym.spaces.Dict(dict.fromkeys(CAMERAS, picture)),
                "agent_pos": gym.spaces.Box(-np.inf, np.inf, (6,), np.float32),
            }
        )
        self.action_space = gym.spaces.Box(
            self.to_row(bounds.low), self.to_row(bounds.high), dtype=np.float32
        )
        self.episode_seed: int | None = None
        self.progress: TaskProgress | StepsProgress = TaskProgress()
        self._overhead = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        self._steps = 0
        self._succeeded = False
        self._logs_this_episode = False

    @property
    def task_description(self) -> str:
        """The instruction of the current episode; LeRobot hands it to the policy as ``task``."""
        return instruction(self.cube_colour, self.disc_colour)

    @property
    def task(self) -> str:
        """The same: lerobot-eval asks for both names, and a parallel environment that lacks one dies of the question."""
        return self.task_description

    def to_row(self, joints: np.ndarray) -> np.ndarray:
        """Converts joint angles in radians, (6,), to LeRobot's units, (6,) float32."""
        from so101_nexus import sim_qpos_to_dataset_row

        row = sim_qpos_to_dataset_row(np.asarray(joints, np.float64), gripper_limits_rad=self._gripper_limits)
        return row.astype(np.float32)

    def to_joints(self, row: np.ndarray) -> np.ndarray:
        """Converts a state or action in LeRobot's units, (6,), to joint angles in radians, (6,)."""
        from so101_nexus import dataset_row_to_sim_qpos

        return dataset_row_to_sim_qpos(np.asarray(row, np.float64), gripper_limits_rad=self._gripper_limits)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Starts an episode; the same seed gives the same episode, bit by bit."""
        super().reset(seed=seed)
        # A vector environment resets a finished member by itself, without a seed or options, while its siblings go
        # on; lerobot-eval ignores that extra episode, so the log must too.
        self._logs_this_episode = seed is not None or bool(options)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self.episode_seed = seed
        # A stream of its own: the simulator seeds its layout with the same number.
        rng = np.random.default_rng([seed, 101])
        chosen = self._choose_scene(rng, options or {})
        start = self.to_joints(HOME + rng.uniform(-1, 1, 6) * HOME_SPREAD)
        _, truth = self.simulation.reset(seed=seed, options={"init_qpos": start, **chosen})
        self._dress_scene(rng)
        self.progress = self._new_progress()
        self._steps = 0
        self._succeeded = False
        self.disturbed_at, self._first_pose = -1, self.object_pose()
        return self._observe(), self._judge(truth)

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Drives the arm towards action for one control period. The reward is the Task Progress gained, / 100.

        Raises:
            ValueError: The action is not six finite numbers.
        """
        action = np.asarray(action, np.float64)
        if action.shape != (6,) or not np.isfinite(action).all():
            raise ValueError(f"action must be 6 finite numbers ({', '.join(MOTORS)}), got {action!r}")
        before = self.progress.score
        # The simulator clips to the joint limits itself.
        *_, truth = self.simulation.step(self.to_joints(action))
        self._steps += 1
        if self._disturb != "none" and self.disturbed_at < 0:
            self._disturb_once(truth)
        info = self._judge(truth)
        terminated = self._is_over(info)
        truncated = not terminated and self._steps >= self._episode_length * self.number_of_steps
        if (terminated or truncated) and self._logs_this_episode:
            self._log()
        return self._observe(), (self.progress.score - before) / 100, terminated, truncated, info

    def render(self) -> np.ndarray:
        """Returns the overhead image of the last observation, enlarged four times, (384, 384, 3) uint8."""
        # lerobot-eval asks after every step; the picture is there already.
        return self._overhead.repeat(4, axis=0).repeat(4, axis=1)

    def effort(self) -> np.ndarray:
        """The actuators' torques at the last observation, (6,) float32, newton metres; what a servo's load tells.

        The simulated servos are stiff and saturate within a step, so those of the arm's joints say little at 20 Hz; the
        gripper's tells whether it holds something.
        """
        return self.simulation.data.actuator_force[:6].astype(np.float32)

    @property
    def number_of_steps(self) -> int:
        """How many objects the task moves, one after the other."""
        return 1

    def named_steps(self) -> list[tuple[str, str]]:
        """Object and target of each step, where the task has a choice of them."""
        return []

    def object_pose(self, step: int = 0) -> np.ndarray:
        """Middle and quaternion (w, x, y, z) of the object that a step moves, (7,)."""
        return self.simulation._get_object_pose()

    def holds(self, step: int) -> bool:
        """Whether the fingers hold the object that a step moves."""
        return self.simulation._is_grasping() > 0.5

    def where_to_place(self, step: int = 0) -> Placing | None:
        """Where a step's object is to stand, for the demonstrator; None where the task ends with the object in the hand."""
        return Placing(self.simulation._get_target_pos(), slack=0.012)

    def named_target(self) -> np.ndarray | None:
        """Middle, (3,), of what the task names besides its object."""
        return self.simulation._get_target_pos()

    def is_accomplished(self, info: dict) -> bool:
        """Whether a demonstration that ends here, with the last step's ``info``, is one to keep."""
        return bool(info["is_success"]) and self.progress.complete

    @contextmanager
    def unseen(self) -> Iterator[SceneCameras | None]:
        """Leaves the pictures of all steps in the block black; yields the cameras, with which single ones can be drawn."""
        cameras, self._cameras = self._cameras, None
        try:
            yield cameras
        finally:
            self._cameras = cameras

    def close(self) -> None:
        """Frees the renderer."""
        if self._cameras is not None:
            self._cameras.close()
        self.simulation.close()

    def _is_over(self, info: dict) -> bool:
        return self.progress.complete and info["is_success"]

    def _disturb_once(self, truth: dict) -> None:
        """Moves the cube when its time has come."""
        held, pose = truth["is_grasped"] > 0.5, self._first_pose.copy()
        if self._disturb == "moved" and (held or truth["tcp_to_obj_dist"] > NEAR):
            return
        if self._disturb == "taken" and not (held and truth["lift_height"] > RAISED):
            return
        if (
            self._disturb == "moved"
        ):  # around the arm's base, so that it stays in reach, and away from the disc
            aside = np.array([-pose[1], pose[0]]) / np.linalg.norm(pose[:2]) * MOVED
            disc = self.simulation._get_target_pos()[:2]
            pose[:2] = max(pose[:2] + aside, pose[:2] - aside, key=lambda place: np.linalg.norm(place - disc))
        simulation = self.simulation
        at = simulation._slots[simulation._target_slot_idx].qpos_addr
        joint = int(np.flatnonzero(simulation.model.jnt_qposadr == at)[0])
        speed = simulation.model.jnt_dofadr[joint]
        simulation.data.qpos[at : at + 7] = pose
        simulation.data.qvel[speed : speed + 6] = 0.0
        self.disturbed_at = self._steps

    def _new_progress(self) -> TaskProgress | StepsProgress:
        return TaskProgress()

    def _choose_split(self, split: str) -> None:
        """Keeps what episodes draw from.

        Raises:
            ValueError: There is no such split.
        """
        self._pairs = pairs_of(split)
        self.cube_colour, self.disc_colour = self._pairs[0]

    def _build(self, control_rate: int):
        """The simulation, without cameras."""
        return make_simulation(
            control_rate,
            cube_colors=list(CUBE_COLOURS),
            target_colors=list(DISC_COLOURS),
            cube_half_size=CUBE_HALF_EDGE,
        )

    def _choose_scene(self, rng: np.random.Generator, options: dict[str, Any]) -> dict[str, Any]:
        """Draws what the scene holds, before it is laid out; options of the simulator's reset."""
        self.cube_colour, self.disc_colour = self._pairs[rng.integers(len(self._pairs))]
        self.simulation.config.target_colors = self.disc_colour
        return {"target_index": CUBE_COLOURS.index(self.cube_colour)}

    def _dress_scene(self, rng: np.random.Generator) -> None:
        """Changes how the scene looks once it is laid out."""

    def _observe(self) -> dict:
        if self._cameras is None:
            pictures = {name: np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8) for name in CAMERAS}
        else:
            pictures = self._cameras.render(self.simulation.data)
        self._overhead = pictures["overhead"]
        return {"pixels": pictures, "agent_pos": self.to_row(self.simulation.data.qpos[:6])}

    def _judge(self, truth: dict) -> dict:
        self.progress.update(
            SceneTruth(
                tool_to_cube=truth["tcp_to_obj_dist"],
                grasped=truth["is_grasped"] > 0.5,
                lift_height=truth["lift_height"],
                over_disc=truth["geometric_placement_ok"],
                placed=truth["is_obj_placed"],
            )
        )
        success = bool(truth["success"])
        self._succeeded |= success
        return {"is_success": success, "task_progress": self.progress.score}

    def about_scene(self) -> dict[str, Any]:
        """What the log says about the scene and its task."""
        return {"cube": self.cube_colour, "disc": self.disc_colour}

    def _log(self) -> None:
        if self._progress_log is None:
            return
        line = {
            "seed": self.episode_seed,
            **self.about_scene(),
            "success": self._succeeded,
            "task_progress": self.progress.score,
            **self.progress.flags,
            "steps": self._steps,
            **({"disturbed_at": self.disturbed_at} if self._disturb != "none" else {}),
        }
        self._progress_log.parent.mkdir(parents=True, exist_ok=True)
        # One short write in append mode: parallel environments share the file without mixing lines.
        with self._progress_log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def make_simulation(control_rate: int, **scene: Any):
    """Builds so101-nexus' environment without its cameras, which would render at its own quality.

    Args:
        control_rate: Steps a second.
        **scene: Objects and colours, as `PickAndPlaceV2Config` takes them.
    """
    from so101_nexus.mujoco.pick_and_place import PickAndPlaceV2Env

    return PickAndPlaceV2Env(simulation_config(control_rate, **scene))


def simulation_config(control_rate: int, **scene: Any):
    """so101-nexus' configuration of robot, control and solver, without cameras. Arguments: see `make_simulation`."""
    from so101_nexus import (
        JointPositions,
        PhysicsConfig,
        PickAndPlaceV2Config,
        RenderConfig,
        RenderingQuality,
    )

    return PickAndPlaceV2Config(
        target_disc_radius=DISC_RADIUS,
        # Clear of the disc's rim, so that the cube never starts on its goal.
        min_object_target_separation=DISC_RADIUS + 0.01,
        robot_colors="white",
        observations=[JointPositions()],
        # The simulator's own solver settings; only the control period differs.
        physics=PhysicsConfig(
            control_period_s=1 / control_rate, integrator="implicitfast", noslip_iterations=3
        ),
        render=RenderConfig(quality=RenderingQuality(msaa_samples=0, shadows=False, shadow_map_size=1)),
        terminate_on_success=False,
        **SPAWN,
        **scene,
    )
