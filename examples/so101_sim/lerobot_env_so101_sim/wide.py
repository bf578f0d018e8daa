# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Many scenes for base weights: other tasks, shapes, sizes, colours, tables, lights, clutter, and other camera poses.

Neither the task of `env.py` (a cube on a disc) nor its cameras occur, so that what base weights bring to it can be
measured. All ranges are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from lerobot_env_so101_sim.env import DISC_RADIUS, Placing, So101PickPlaceEnv, make_simulation
from lerobot_env_so101_sim.rendering import OVERHEAD

SHAPES = ("cube", "cylinder")
HALF_EDGES = (0.0125, 0.014, 0.016)
OBSTACLES = 3
# From the arm's side: x points away from its base, y to its left.
SIDES = {
    "in front of": (-1.0, 0.0),
    "behind": (1.0, 0.0),
    "to the left of": (0.0, 1.0),
    "to the right of": (0.0, -1.0),
}
# Metres between the disc's rim and the object beside it.
BESIDE = 0.01
TASKS = {"hold": 0.2, "beside": 0.45, "stack": 0.35}
# How the overhead camera stands: ranges about `env.py`'s pose, metres and degrees.
CAMERA = {"lookat": 0.02, "distance": (0.5, 0.66), "elevation": (-78.0, -42.0), "azimuth": (152.0, 208.0)}
# And poses that are as near as this to that pose, degrees, are not drawn.
KEPT_FROM = 12.0


@dataclass(frozen=True)
class Thing:
    """An object as a sentence names it: ``"red cube"``."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


class So101WideEnv(So101PickPlaceEnv):
    """A scene that no other seed repeats, with one of three tasks.

    ``hold`` lifts an object, ``beside`` puts it on a side of the disc, ``stack`` puts it on another object.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(split="all", **kwargs)
        self._drawn_once = False

    def _build(self, control_rate: int):
        from so101_nexus.constants import CUBE_COLOR_MAP
        from so101_nexus.objects import CubeObject, CylinderObject

        self._colours = {name: np.array(rgba) for name, rgba in CUBE_COLOR_MAP.items()}
        kinds = {"cube": CubeObject, "cylinder": CylinderObject}
        self._pool = [(shape, half) for shape in SHAPES for half in HALF_EDGES]
        self._around = [("cube", 0.016), ("cylinder", 0.014), ("cube", 0.0125)]
        simulation = make_simulation(
            control_rate,
            objects=[kinds[shape](half_size=half) for shape, half in self._pool],
            distractors=[kinds[shape](half_size=half) for shape, half in self._around],
            max_distractors=OBSTACLES,
            min_object_separation=0.03,
        )
        self._looks = {
            "floor": mujoco.mj_name2id(simulation.model, mujoco.mjtObj.mjOBJ_GEOM, "floor"),
            "lights": simulation.model.light_diffuse.copy(),
            "ambient": simulation.model.vis.headlight.ambient.copy(),
        }
        return simulation

    @property
    def task_description(self) -> str:
        """The instruction of the current episode."""
        if self.kind == "hold":
            return f"pick up the {self.thing}"
        if self.kind == "stack":
            return f"pick up the {self.thing} and put it on the {self.under}"
        return f"pick up the {self.thing} and put it {self.side} the {self.disc_colour} disc"

    def where_to_place(self, step: int = 0) -> Placing | None:
        """Where the object is to stand."""
        if self.kind == "hold":
            return None
        if self.kind == "stack":
            at = self._pose_of(self.lower_slot)
            return Placing(at + [0.0, 0.0, self.lower_half], slack=0.002)
        way = np.array([*SIDES[self.side], 0.0])
        disc = self.simulation._get_target_pos()
        return Placing(disc + way * (DISC_RADIUS + self.half_edge * 1.4 + BESIDE), slack=0.008)

    def named_target(self) -> np.ndarray | None:
        """Middle, (3,), of what the task names besides its object."""
        if self.kind == "hold":
            return None
        return self._pose_of(self.lower_slot) if self.kind == "stack" else self.simulation._get_target_pos()

    def is_accomplished(self, info: dict) -> bool:
        """Whether the object is where it should be."""
        pose = self.simulation._get_object_pose()[:3]
        grasped = self.progress.flags["grasped"]
        if self.kind == "hold":
            return grasped and pose[2] > 0.05
        place = self.where_to_place()
        assert place is not None
        off = np.abs(pose - place.at - [0.0, 0.0, self.half_edge])
        return bool(off[:2].max() < 0.025 and off[2] < 0.005 and grasped)

    def _choose_scene(self, rng: np.random.Generator, options: dict[str, Any]) -> dict[str, Any]:
        names = list(rng.permutation(list(self._colours)))
        self.disc_colour = names.pop()
        target = int(rng.integers(len(self._pool)))
        shape, self.half_edge = self._pool[target]
        self.thing = Thing(names.pop(), shape)
        self.cube_colour = self.thing.colour
        self.kind = str(rng.choice(list(TASKS), p=list(TASKS.values())))
        self.side = str(rng.choice(list(SIDES)))
        self._others = names
        self.simulation.config.target_colors = self.disc_colour
        return {"target_index": target}

    def _dress_scene(self, rng: np.random.Generator) -> None:
        simulation, model = self.simulation, self.simulation.model
        present = [s for s in simulation._distractor_slots if simulation.data.qpos[s.qpos_addr + 2] > 0.0]
        things = []
        for slot, colour in zip(present, self._others, strict=False):
            self._paint(slot.geom_ids[0], colour, rng)
            shape, half = self._around[simulation._distractor_slots.index(slot)]
            things.append((Thing(colour, shape), slot, half))
        wide = [t for t in things if t[0].shape == "cube" and t[2] >= self.half_edge - 0.004]
        if self.kind == "stack":
            if wide:
                self.under, self.lower_slot, self.lower_half = wide[int(rng.integers(len(wide)))]
            else:
                self.kind = "beside"
        self._paint(simulation._slots[simulation._target_slot_idx].geom_ids[0], self.thing.colour, rng)
        self._paint(simulation._target_geom_id, self.disc_colour, rng)
        tone = rng.uniform(0.15, 0.85)
        model.geom_rgba[self._looks["floor"], :3] = np.clip(tone + rng.normal(0, 0.06, 3), 0, 1)
        model.light_diffuse[:] = self._looks["lights"] * rng.uniform(
            0.5, 1.3, (len(self._looks["lights"]), 1)
        )
        model.vis.headlight.ambient[:] = self._looks["ambient"] * rng.uniform(0.6, 1.6)
        if self._cameras is not None:
            self._turn_cameras(rng)

    def _turn_cameras(self, rng: np.random.Generator) -> None:
        assert self._cameras is not None
        overhead, model = self._cameras.overhead, self.simulation.model
        while True:
            elevation, azimuth = rng.uniform(*CAMERA["elevation"]), rng.uniform(*CAMERA["azimuth"])
            apart = np.hypot(elevation - OVERHEAD["elevation"], azimuth - OVERHEAD["azimuth"])
            if apart > KEPT_FROM:
                break
        overhead.elevation, overhead.azimuth = elevation, azimuth
        overhead.distance = rng.uniform(*CAMERA["distance"])
        overhead.lookat[:] = np.array(OVERHEAD["lookat"]) + rng.uniform(-1, 1, 3) * [CAMERA["lookat"]] * 3
        wrist = self._cameras.wrist
        if not self._drawn_once:
            self._mount = (model.cam_pos[wrist].copy(), model.cam_fovy[wrist])
            self._drawn_once = True
        position, fovy = self._mount
        model.cam_pos[wrist] = position + rng.uniform(-0.01, 0.01, 3)
        model.cam_fovy[wrist] = fovy + rng.uniform(-12, 8)
        turn = np.array([-0.5, 0.0, 0.0]) + rng.uniform(-0.12, 0.12, 3)
        mujoco.mju_euler2Quat(model.cam_quat[wrist], turn, "XYZ")

    def _paint(self, geom: int, colour: str, rng: np.random.Generator) -> None:
        rgb = self._colours[colour][:3]
        self.simulation.model.geom_rgba[geom, :3] = np.clip(
            rgb * rng.uniform(0.7, 1.0) + rng.uniform(0, 0.15, 3), 0, 1
        )

    def _pose_of(self, slot) -> np.ndarray:
        return self.simulation.data.qpos[slot.qpos_addr : slot.qpos_addr + 3].copy()
