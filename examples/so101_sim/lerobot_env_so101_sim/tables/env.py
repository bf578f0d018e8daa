# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The gymnasium environment of tables with choices; cameras, units, log and control are the first scene's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lerobot_env_so101_sim.env import Placing, So101PickPlaceEnv
from lerobot_env_so101_sim.rendering import OVERHEAD
from lerobot_env_so101_sim.tables.sizes import (
    BIN_HALF_WIDTH,
    CUBE_HALF_EDGE,
    DISC_RADIUS,
    PLACE_HALF_THICKNESS,
    TEXTURES,
)
from lerobot_env_so101_sim.tables.splits import TABLE_SPLITS, Scenario, draw
from lerobot_env_so101_sim.tables.words import Step, check_steps, sentence
from lerobot_env_so101_sim.task_progress import SceneTruth, StepsProgress

if TYPE_CHECKING:
    import mujoco

    from lerobot_env_so101_sim.tables.simulation import TableSimulation

# All of these are our choice. A cube rests when it is slower than this (metres a second) for so many control steps.
STILL, REST_STEPS = 0.02, 4
# How far a resting cube's height may be off, metres.
HEIGHT_TOLERANCE = 0.005
# How far beside its place the demonstrator may aim along each axis, and from how high above the floor of a bin it lets go.
SLACK = {"disc": 0.01, "bin": 0.006, "cube": 0.002}
DROP = {"disc": 0.0, "bin": 0.012, "cube": 0.001}
# Shifts: metres and degrees of the overhead camera, times of the lights, half edges of the cubes.
CAMERA_METRES, CAMERA_DEGREES = 0.02, 5.0
LIGHT_TIMES = ((0.45, 0.7), (1.1, 1.3))
HALF_EDGES = (0.0125, 0.0175)


class So101TableEnv(So101PickPlaceEnv):
    """Does what an instruction of one to three steps says, among several cubes, discs and bins.

    Observations and actions are those of `So101PickPlaceEnv`. ``reset(options={"steps": [Step(...), ...]})`` asks for other
    steps in the scene of that seed. ``info["is_success"]``: all steps were done in their order, and all cubes that they
    moved rest where they belong.

    Args:
        split: One of ``splits.TABLE_SPLITS``.
        **kwargs: See `So101PickPlaceEnv`; ``episode_length`` counts for each step of the instruction.

    Raises:
        ValueError: Unknown split.
    """

    MOST_STEPS = 3
    crowded = True
    simulation: TableSimulation
    scenario: Scenario

    @property
    def task_description(self) -> str:
        """The instruction of the current episode."""
        return self.scenario.task

    @property
    def number_of_steps(self) -> int:
        """How many cubes the instruction moves."""
        return len(self.scenario.steps)

    def disobey(self) -> None:
        """Lets the demonstrator do the pair's other instruction, until the next reset."""
        self._demonstrated = self.scenario.other

    def named_steps(self) -> list[tuple[str, str]]:
        """Cube and place of each step."""
        return [(step.cube, step.place) for step in self.scenario.steps]

    def object_pose(self, step: int = 0) -> np.ndarray:
        """Middle and quaternion (w, x, y, z) of the cube that a step moves, (7,)."""
        return self.simulation.pose(self._demonstrated[step].cube)

    def holds(self, step: int) -> bool:
        """Whether the fingers hold the cube that a step moves."""
        return self.simulation.is_held(self._demonstrated[step].cube)

    def where_to_place(self, step: int = 0) -> Placing:
        """Where a step's cube is to stand, for the demonstrator."""
        now = self._demonstrated[step]
        at = self.simulation.pose(now.place)[:3]
        base = self.half_edge if now.kind == "cube" else PLACE_HALF_THICKNESS
        return Placing(np.array([*at[:2], at[2] + base + DROP[now.kind]]), SLACK[now.kind])

    def named_target(self) -> np.ndarray:
        """Middle, (3,), of the place that the current step names."""
        return self.simulation.pose(self.scenario.steps[self.progress.current].place)[:3]

    def truth(self, step: Step) -> SceneTruth:
        """What the rubric looks at for one step, now."""
        simulation = self.simulation
        cube = simulation.pose(step.cube)[:3]
        held = simulation.is_held(step.cube)
        return SceneTruth(
            tool_to_cube=float(np.linalg.norm(cube - simulation.tool())),
            grasped=held,
            lift_height=float(cube[2]) - self._heights[step.cube],
            over_disc=self._is_above(step, cube),
            placed=self._rested.get(step.cube, 0) >= REST_STEPS and self._stands(step),
        )

    def did(self) -> str:
        """``told`` or ``other`` for what was done of the two instructions of a pair, ``neither`` for neither yet."""
        if self.progress.complete:
            return "told"
        return "other" if self._other is not None and self._other.complete else "neither"

    def _choose_split(self, split: str) -> None:
        if split not in TABLE_SPLITS:
            raise ValueError(f"split={split!r} is unknown; choose one of {tuple(TABLE_SPLITS)}")
        self._split = split
        self._other: StepsProgress | None = None
        self._heights: dict[str, float] = {}
        self._rested: dict[str, int] = {}
        # What the demonstrator does.
        self._demonstrated: tuple[Step, ...] = ()

    def _build(self, control_rate: int) -> TableSimulation:
        # Only here: MuJoCo keeps the rendering backend that it is first imported with.
        from lerobot_env_so101_sim.tables.simulation import TableSimulation

        simulation = TableSimulation(control_rate)
        model = simulation.model
        self._lights = model.light_diffuse.copy(), model.vis.headlight.ambient.copy()
        self.scenario = draw(self._split, np.random.default_rng(0))
        return simulation

    def _is_over(self, info: dict) -> bool:
        return self.did() == "other" or super()._is_over(info)

    def _new_progress(self) -> StepsProgress:
        self._other = StepsProgress(len(self.scenario.other)) if self.scenario.other else None
        self._heights = {cube: float(self.simulation.pose(cube)[2]) for cube in self.scenario.cubes}
        self._rested = {}
        return StepsProgress(self.number_of_steps)

    def _choose_scene(self, rng: np.random.Generator, options: dict[str, Any]) -> dict[str, Any]:
        scenario = draw(self._split, rng)
        if "steps" in options:
            scenario = _with_steps(scenario, tuple(options["steps"]), self._stream(104))
        self.scenario, self._demonstrated = scenario, scenario.steps
        # Streams of their own: other steps, or a shift, must not move anything in the scene.
        big = self._stream(105).random() < 0.5
        self.half_edge = HALF_EDGES[int(big)] if scenario.shift == "size" else CUBE_HALF_EDGE
        stream = self._stream(102)
        self.simulation.show(scenario.cubes, scenario.places, scenario.clutter, stream, self.half_edge)
        return {}

    def _dress_scene(self, rng: np.random.Generator) -> None:
        simulation, model, shift = self.simulation, self.simulation.model, self.scenario.shift
        drawn = self._stream(103)
        texture = str(drawn.choice(list(TEXTURES))) if shift == "texture" else None
        model.geom_matid[simulation.floor] = -1 if texture is None else model.material(texture).id
        model.geom_rgba[simulation.floor, :3] = 0.5 if texture is None else 1.0
        low_high = LIGHT_TIMES[drawn.integers(len(LIGHT_TIMES))]
        tint = drawn.uniform(0.85, 1.0, 3)
        times = drawn.uniform(*low_high) * tint if shift == "light" else np.ones(3)
        model.light_diffuse[:], model.vis.headlight.ambient[:] = (
            self._lights[0] * times,
            self._lights[1] * times,
        )
        if self._cameras is not None:
            moved = drawn.normal(size=5) if shift == "camera" else np.zeros(5)
            _turn(self._cameras.overhead, moved[:3], moved[3:])

    def _stream(self, number: int) -> np.random.Generator:
        assert self.episode_seed is not None
        return np.random.default_rng([self.episode_seed, number])

    def _judge(self, truth: dict) -> dict:
        for cube in self.scenario.cubes:
            resting = self.simulation.speed(cube) < STILL and not self.simulation.is_touched(cube)
            self._rested[cube] = self._rested.get(cube, 0) + 1 if resting else 0
        self.progress.update(lambda i: self.truth(self.scenario.steps[i]))
        if self._other is not None:
            self._other.update(lambda i: self.truth(self.scenario.other[i]))
        last = {step.cube: step for step in self.scenario.steps}
        success = self.progress.complete and all(map(self._stands, last.values()))
        self._succeeded |= success
        return {"is_success": success, "task_progress": self.progress.score}

    def _is_above(self, step: Step, cube: np.ndarray) -> bool:
        """Whether a cube's middle is inside the place's outline, seen from above."""
        place = self.simulation.pose(step.place)
        if step.kind == "disc":
            return bool(np.hypot(*(cube[:2] - place[:2])) <= DISC_RADIUS)
        x, y = _in_frame(cube[:2] - place[:2], place[3:])
        return bool(max(abs(x), abs(y)) <= (BIN_HALF_WIDTH if step.kind == "bin" else self.half_edge))

    def _stands(self, step: Step) -> bool:
        """Whether the step's cube stands in its place, whatever touches it."""
        cube, place = self.simulation.pose(step.cube)[:3], self.simulation.pose(step.place)
        height = place[2] + self.half_edge + (self.half_edge if step.kind == "cube" else 0.0)
        return self._is_above(step, cube) and abs(float(cube[2] - height)) < HEIGHT_TOLERANCE

    def about_scene(self) -> dict[str, Any]:
        scenario = self.scenario
        steps = zip(scenario.steps, self.progress.steps, strict=True)
        line: dict[str, Any] = {
            "task": scenario.task,
            "plan": "".join("S" if step.kind == "cube" else "P" for step in scenario.steps),
            "each_step": [
                {"step": str(s), "success": p.complete, "task_progress": p.score, **p.flags} for s, p in steps
            ],
        }
        if self._other is not None:
            line |= {"differ_in": scenario.differ_in, "did": self.did(), "other_progress": self._other.score}
        return line


def _with_steps(scenario: Scenario, steps: Sequence[Step], rng: np.random.Generator) -> Scenario:
    """The same table with other steps, which are refused where it does not allow them."""
    check_steps(steps, scenario.cubes, scenario.places)
    task = sentence(steps, scenario.cubes, rng)
    return replace(scenario, steps=tuple(steps), task=task, other=(), differ_in="")


def _in_frame(offset: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """A horizontal offset, (2,), in the frame of something turned about the vertical."""
    w, *_, z = quaternion
    cos, sin = w * w - z * z, 2 * w * z
    return np.array([cos * offset[0] + sin * offset[1], cos * offset[1] - sin * offset[0]])


def _turn(camera: mujoco.MjvCamera, move: np.ndarray, turn: np.ndarray) -> None:
    """Puts a free camera beside its usual pose: moved in the direction ``move``, (3,), turned by angles along ``turn``, (2,)."""
    usual = np.array([OVERHEAD["elevation"], OVERHEAD["azimuth"]], float)
    position = np.array(OVERHEAD["lookat"]) - OVERHEAD["distance"] * _ahead(*usual)
    if move.any():
        position = position + CAMERA_METRES * move / np.linalg.norm(move)
        # A degree of azimuth is the smaller, the steeper the camera looks down.
        usual = usual + CAMERA_DEGREES * turn / np.linalg.norm(turn) / [1.0, np.cos(np.deg2rad(usual[0]))]
    camera.elevation, camera.azimuth = usual
    camera.lookat[:] = position + OVERHEAD["distance"] * _ahead(*usual)


def _ahead(elevation: float, azimuth: float) -> np.ndarray:
    """Where a free camera looks, (3,), by MuJoCo's rule; angles in degrees."""
    up, round_ = np.deg2rad([elevation, azimuth])
    return np.array([np.cos(up) * np.cos(round_), np.cos(up) * np.sin(round_), np.sin(up)])
