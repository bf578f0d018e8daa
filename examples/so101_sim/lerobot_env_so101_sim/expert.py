# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The scripted demonstrator: named phases, each a smooth move from rest to rest.

It reads the simulator's truth when a phase begins, as a person looks before moving, and plans joint waypoints by
inverse kinematics. Variety is seeded: durations, waypoints, execution noise, a missed first grasp, starts from all over
the table. The way to a grasp is rough first and mended on the way down, as a person's is; where every reach ended right
above the cube, a learner could go straight down from wherever it is and never look again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lerobot_env_so101_sim.env import So101PickPlaceEnv
from lerobot_env_so101_sim.inverse_kinematics import BASE, VerticalGraspSolver
from lerobot_env_so101_sim.perturbation import Perturbation

PHASES = ("reach", "descend", "close", "lift", "move", "lower", "open", "retreat")
# Steps before the demonstration begins; they are not recorded.
SET_UP = "set_up"

# All of these are our choice. Metres, seconds, and 0 to 100 for the gripper.
NOISY_SHARE = 1 / 3
MISSED_GRASP_SHARE = 0.08
STARTS_ELSEWHERE_SHARE = 0.35
# How far beside its aim, along each axis, a reach or a move may end.
ROUGH_REACH = 0.02
ROUGH_MOVE = 0.015
NOISE_DEGREES = 2.0
NOISE_SECONDS = 0.35
# Joints that must be exact while the fingers are around the cube get less of the noise then.
NOISE_NEAR_CUBE, NOISE_CROWDED = 0.35, 0.25
DURATION = {
    SET_UP: 1.0,
    "reach": 1.15,
    "descend": 0.65,
    "close": 0.45,
    "lift": 0.65,
    "move": 1.0,
    "lower": 0.55,
    "open": 0.4,
    "retreat": 0.75,
}
# The slowest joint may average this speed, degrees a second; a longer way takes longer than the table says.
MEAN_SPEED = 70.0
GRIP_OPEN = 45.0
GRIP_CLOSED = 10.0
# With the jaw open the tool's centre sits 2 cm from the fixed finger; this brings that finger near the cube.
TOWARDS_FIXED_FINGER = 0.002
# The closing cube slides against that finger, and hangs there, this far off the tool's centre.
HELD_OFF_CENTRE = 0.005
MISS_BY = 0.036
# Where things stand close together: closes harder, carries this much higher, opens less to let go, and moves the fixed
# finger off what it has set down.
GRIP_CROWDED, HIGHER, LET_GO, CLEAR_OFF = 5.0, 0.02, 38.0, 0.006
# There, what slipped is grasped again.
TRIES = 2
# A place with less slack than this, metres, is approached with less noise.
STEADY_FROM = 0.006
# Direction of the closing jaw, relative to the direction from the arm's base: sideways, camera on the outer side.
NOMINAL_YAW = np.pi / 2


@dataclass(frozen=True)
class Command:
    """One control step of the demonstration, in LeRobot's units.

    Attributes:
        phase: Name of the phase, one of ``PHASES``, or ``SET_UP``.
        step: Which of the task's objects it moves.
        planned: The smooth joint target, (6,): what gets recorded as the action.
        executed: What the arm is sent, (6,): the same, plus noise in some episodes.
    """

    phase: str
    planned: np.ndarray
    executed: np.ndarray
    step: int = 0


@dataclass(frozen=True)
class Style:
    """What makes one demonstration differ from another, drawn once per episode."""

    noisy: bool
    misses_first_grasp: bool
    pace: float
    starts_elsewhere: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        """Draws a style."""
        return cls(
            noisy=bool(rng.random() < NOISY_SHARE),
            misses_first_grasp=bool(rng.random() < MISSED_GRASP_SHARE),
            pace=float(rng.uniform(0.75, 1.05)),
            starts_elsewhere=bool(rng.random() < STARTS_ELSEWHERE_SHARE),
        )


class Expert:
    """Demonstrates one episode of a freshly reset environment.

    Args:
        env: The environment, unwrapped and reset.
        rng: Source of the demonstration's variety.
        style: Fixed style; drawn from ``rng`` if left out.
        perturbation: Begin near a contact instead; the way there is ``SET_UP``. It replaces the starts elsewhere and the
            missed grasp of the style.
    """

    def __init__(
        self,
        env: So101PickPlaceEnv,
        rng: np.random.Generator,
        style: Style | None = None,
        perturbation: Perturbation | None = None,
    ) -> None:
        self._env = env
        self._rng = rng
        self._perturbation = perturbation
        self.style = style or Style.draw(rng)
        if perturbation is not None:
            self.style = replace(self.style, misses_first_grasp=False, starts_elsewhere=False)
        self._solver = VerticalGraspSolver(env.simulation)
        self._now = env.to_joints(env.to_row(env.simulation.data.qpos[:6]))
        self._noise = np.zeros(6)
        self._step = 0
        self._higher = HIGHER if env.crowded else 0.0
        # Of the noise, where something is set down: a stack allows less of it.
        self._steadiness = 1.0

    def commands(self) -> Iterator[Command]:
        """Yields the episode's commands; send ``executed`` to the environment before asking for the next.

        Raises:
            ValueError: A waypoint is out of the arm's reach.
        """
        if self.style.starts_elsewhere:
            yield from self._go_elsewhere()
        if self.style.misses_first_grasp:
            yield from self._grasp_at(self._beside_cube())
            yield from self._phase("open", grip=GRIP_OPEN)
        for step in range(self._env.number_of_steps):
            self._step = step
            yield from self._move_object(self._perturbation if step == 0 else None)

    def _move_object(self, near: Perturbation | None) -> Iterator[Command]:
        """Picks the step's object up and places it."""
        rng = self._rng
        if near is not None and near.contact == "grasp":
            yield from self._go_near_cube(near)
        placing = near is not None and near.contact == "place"
        for again in range(TRIES if self._env.crowded else 1):
            if again:
                yield from self._phase("open", grip=GRIP_OPEN)
            cube, yaw = self._cube()
            along = rng.uniform(-0.003, 0.003)
            grasp = cube + _turned((-TOWARDS_FIXED_FINGER, along, 0.0), yaw)
            grasp[2] = self._env.half_edge + rng.uniform(-0.003, 0.003)
            for command in self._pick(grasp, yaw):
                yield replace(command, phase=SET_UP) if placing else command
            if self._env.crowded and self._env.holds(self._step):
                break

        place = self._env.where_to_place(self._step)
        if place is None:
            return
        self._steadiness = min(1.0, place.slack / STEADY_FROM)
        disc = place.at + [*rng.uniform(-place.slack, place.slack, 2), 0.0]
        # The cube hangs a little off the tool's centre; that much the disc is approached off-centre too.
        goal_yaw = _radial(disc) + NOMINAL_YAW + rng.uniform(-0.25, 0.25)
        goal = disc - _turned((HELD_OFF_CENTRE, -along, 0.0), goal_yaw)
        above = goal + [*rng.uniform(-ROUGH_MOVE, ROUGH_MOVE, 2), rng.uniform(0.07, 0.09) + self._higher]
        if near is not None and placing:
            low = grasp[2] + 0.003
            start = near.near(goal + [0.0, 0.0, low], lowest=low)
            high = np.array([*start[:2], max(start[2], above[2])])
            yield from self._phase(SET_UP, tool=high, yaw=goal_yaw + near.yaw)
            yield from self._phase(SET_UP, tool=start, yaw=goal_yaw + near.yaw)
        yield from self._phase("move", tool=above, yaw=goal_yaw)
        yield from self._phase("lower", tool=goal + [0.0, 0.0, grasp[2] + 0.003], yaw=goal_yaw)
        if self._env.crowded:
            off = goal + _turned((CLEAR_OFF, 0.0, 0.0), goal_yaw)
            low = off + [0.0, 0.0, grasp[2] + 0.003]
            yield from self._phase("open", tool=low, yaw=goal_yaw, grip=LET_GO * rng.uniform(0.85, 1.0))
            high = off + [0.0, 0.0, rng.uniform(0.1, 0.12)]
            yield from self._phase("retreat", tool=high, yaw=goal_yaw, via=low + [0.0, 0.0, 0.04])
            return
        yield from self._phase("open", grip=GRIP_OPEN * rng.uniform(0.85, 1.0))
        yield from self._phase("retreat", tool=goal + [0.0, 0.0, rng.uniform(0.1, 0.12)], yaw=goal_yaw)

    def _grasp_at(self, grasp: tuple[np.ndarray, float]) -> Iterator[Command]:
        tool, yaw = grasp
        beside = self._rng.uniform(-ROUGH_REACH, ROUGH_REACH, 2)
        if self._env.crowded:
            # On the side of the jaw, which opens wide: the fixed finger would come down on the cube.
            beside = _turned((abs(beside[0]), beside[1], 0.0), yaw)[:2]
        above = tool + [*beside, self._rng.uniform(0.06, 0.09)]
        yield from self._phase("reach", tool=above, yaw=yaw, grip=GRIP_OPEN * self._rng.uniform(0.9, 1.05))
        yield from self._phase("descend", tool=tool, yaw=yaw)
        yield from self._phase("close", grip=GRIP_CROWDED if self._env.crowded else GRIP_CLOSED)

    def _pick(self, grasp: np.ndarray, yaw: float) -> Iterator[Command]:
        yield from self._grasp_at((grasp, yaw))
        lifted = grasp + [0.0, 0.0, self._rng.uniform(0.06, 0.085) + self._higher]
        yield from self._phase("lift", tool=lifted, yaw=yaw)

    def _go_near_cube(self, near: Perturbation) -> Iterator[Command]:
        """From above to the start near the grasp, fingers open, not deeper than a grasp goes."""
        cube, yaw = self._cube()
        nominal = cube + _turned((-TOWARDS_FIXED_FINGER, 0.0, 0.0), yaw)
        start = near.near(np.array([*nominal[:2], self._env.half_edge]), lowest=self._env.half_edge - 0.003)
        high = np.array([*start[:2], max(start[2], self._env.half_edge + 0.07)])
        yield from self._phase(SET_UP, tool=high, yaw=yaw + near.yaw, grip=GRIP_OPEN)
        yield from self._phase(SET_UP, tool=start, yaw=yaw + near.yaw)

    def _go_elsewhere(self) -> Iterator[Command]:
        """To some place above the table where an earlier try may have left the arm."""
        angle, radius = self._rng.uniform(-0.75, 0.75), self._rng.uniform(0.17, 0.27)
        height = self._rng.uniform(0.09, 0.13)
        tool = np.array([BASE[0] + radius * np.cos(angle), BASE[1] + radius * np.sin(angle), height])
        yaw = angle + NOMINAL_YAW + self._rng.uniform(-0.4, 0.4)
        yield from self._phase(SET_UP, tool=tool, yaw=yaw, grip=GRIP_OPEN * self._rng.uniform(0.2, 1.05))

    def _phase(
        self,
        name: str,
        tool: np.ndarray | None = None,
        yaw: float | None = None,
        grip: float | None = None,
        via: np.ndarray | None = None,
    ) -> Iterator[Command]:
        """Moves to a tool pose, or only the gripper, on a minimum-jerk path that starts and ends at rest.

        The straight way in joint space strays sideways; ``via`` is a place for the tool to pass on its way.
        """
        start, goal = self._now, self._now.copy()
        between = None
        if tool is not None and via is not None:
            between = goal.copy()
            between[:5] = self._solver.solve(via, yaw, start[:5])
        if tool is not None:
            goal[:5] = self._solver.solve(tool, yaw, start[:5] if between is None else between[:5])
        if grip is not None:
            goal[5] = self._env.to_joints(np.array([0.0, 0.0, 0.0, 0.0, 0.0, grip]))[5]
        fps = self._env.metadata["render_fps"]
        way = np.rad2deg(np.abs(goal[:5] - start[:5]).max())
        seconds = max(DURATION[name], way / MEAN_SPEED) * self.style.pace * self._rng.uniform(0.85, 1.2)
        steps = max(4, round(seconds * fps))
        for step in range(1, steps + 1):
            time = step / steps
            blend = time**3 * (10 - 15 * time + 6 * time**2)
            joints = start + blend * (goal - start)
            if between is not None:
                joints = _passing(blend, start, between, goal)
            planned = self._env.to_row(joints)
            yield Command(name, planned, planned + self._execution_noise(name, fps), self._step)
        self._now = goal

    def _execution_noise(self, phase: str, fps: int) -> np.ndarray:
        """Smooth noise of the arm joints, degrees, (6,): a first-order process whose memory is ``NOISE_SECONDS``."""
        if not self.style.noisy:
            return np.zeros(6, np.float32)
        keep = np.exp(-1 / (fps * NOISE_SECONDS))
        self._noise = keep * self._noise + np.sqrt(1 - keep**2) * self._rng.normal(0, NOISE_DEGREES, 6)
        near = ("descend", "close", "lower", "open")
        scale = (NOISE_CROWDED if self._env.crowded else NOISE_NEAR_CUBE) if phase in near else 1.0
        if self._env.crowded and phase in ("lower", "open", "retreat"):
            scale = NOISE_CROWDED * self._steadiness
        return (self._noise * ([scale] * 5 + [0.0])).astype(np.float32)

    def _cube(self) -> tuple[np.ndarray, float]:
        """The cube's centre, (3,), and the grasp yaw that squares with its faces at the smallest wrist roll."""
        pose = self._env.object_pose(self._step)
        w, x, y, z = pose[3:]
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        nominal = _radial(pose) + NOMINAL_YAW
        quarter = np.pi / 2
        return pose[:3], nominal + (yaw - nominal + quarter / 2) % quarter - quarter / 2

    def _beside_cube(self) -> tuple[np.ndarray, float]:
        """A grasp that closes on air next to the cube."""
        cube, yaw = self._cube()
        side = self._rng.choice([-1.0, 1.0])
        tool = cube + _turned((-TOWARDS_FIXED_FINGER, side * MISS_BY, 0.0), yaw)
        tool[2] = self._env.half_edge + 0.004
        return tool, yaw


def _radial(point: np.ndarray) -> float:
    """Direction from the arm's first axis to a point, radians about the vertical."""
    return float(np.arctan2(point[1] - BASE[1], point[0] - BASE[0]))


def _passing(share: float, start: np.ndarray, between: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Joints, (6,), after a share of the way from ``start`` over ``between`` to ``goal``."""
    first, second = np.abs(between - start).max(), np.abs(goal - between).max()
    gone = share * (first + second)
    if gone < first:
        return start + gone / first * (between - start)
    return between + (gone - first) / max(second, 1e-9) * (goal - between)


def _turned(offset: tuple[float, float, float], yaw: float) -> np.ndarray:
    """An offset given in a frame turned by ``yaw`` about the vertical, in world axes, (3,)."""
    x, y, z = offset
    return np.array([np.cos(yaw) * x - np.sin(yaw) * y, np.sin(yaw) * x + np.cos(yaw) * y, z])
