# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The simulated table: an SO-101, cubes, discs, bins and clutter, of which every episode shows some.

The robot, the cubes, the lights and the control are so101-nexus'; this adds several places to put things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from so101_nexus import get_so101_mujoco_model_path
from so101_nexus.constants import COLOR_MAP
from so101_nexus.mujoco.base_env import SO101NexusMuJoCoBaseEnv
from so101_nexus.scene import SCENE_LIGHTS_XML

from lerobot_env_so101_sim.env import simulation_config
from lerobot_env_so101_sim.tables.sizes import (
    BIN_HALF_WIDTH,
    CENTRE,
    CLUTTER_COLOUR,
    CLUTTER_RADIUS,
    CUBE_HALF_EDGE,
    CUBE_MASS,
    DISC_RADIUS,
    GAP,
    GAP_OF_CUBES,
    HALF_ANGLE_DEG,
    PLACE_HALF_THICKNESS,
    RADII,
    TEXTURES,
    WALL_HALF_THICKNESS,
    WALL_HEIGHT,
    WIDEST_Y,
)
from lerobot_env_so101_sim.tables.splits import MOST_BINS, MOST_DISCS
from lerobot_env_so101_sim.tables.words import CUBES


@dataclass(frozen=True)
class Thing:
    """One thing of the model.

    Attributes:
        name: ``"red cube"``, or where it is one of several without a colour of its own, ``"disc 0"``.
        kind: ``cube``, ``disc``, ``bin`` or ``clutter``.
        geoms: Its geoms.
        qpos: Where its free joint begins in the positions; its mocap number for discs and bins.
        radius: Of its outline's circle, metres.
    """

    name: str
    kind: str
    geoms: tuple[int, ...]
    qpos: int
    radius: float


class TableSimulation(SO101NexusMuJoCoBaseEnv):
    """Steps the arm among the things that `show` has put on the table.

    Args:
        control_rate: Steps a second.
    """

    def __init__(self, control_rate: int) -> None:
        self._init_common(
            config=simulation_config(control_rate),
            render_mode=None,
            control_mode="pd_joint_pos",
            robot_init_qpos_noise=0.0,
        )
        self.model = _compiled()
        self.data = mujoco.MjData(self.model)
        self.half_edge = CUBE_HALF_EDGE
        self.things = {thing.name: thing for thing in self._find_things()}
        self.floor = self._id("GEOM", "floor")
        self._layout: dict[str, tuple[float, float, float]] = {}
        self._colours: dict[str, str] = {}
        self._names: dict[str, Thing] = {}
        robot = self.model.body_rootid == self._id("BODY", "base")
        self._robot_geoms = robot[self.model.geom_bodyid]
        self._colliding = self.model.geom_contype.copy()
        self._set_target_geoms(self.things[CUBES[0]].geoms)
        self.task_description = ""
        self._finish_model_setup()

    def show(
        self,
        cubes: Sequence[str],
        places: Sequence[str],
        clutter: int,
        rng: np.random.Generator,
        half_edge: float = CUBE_HALF_EDGE,
    ) -> None:
        """Chooses what the next reset puts on the table, and where.

        Args:
            cubes: Names.
            places: Names of discs and bins, each with its colour.
            clutter: How many cylinders, at most one.
            rng: Draws the layout.
            half_edge: Of all cubes, metres.
        """
        self.half_edge = half_edge
        self._names = {cube: self.things[cube] for cube in cubes}
        free = {kind: [t for t in self.things.values() if t.kind == kind] for kind in ("disc", "bin")}
        for place in places:
            self._names[place] = free[place.rsplit(" ", 1)[-1]].pop(0)
        self._names |= {"clutter": self.things["clutter"]} if clutter else {}
        self._layout = _lay_out(self._names, rng)

    def thing(self, name: str) -> Thing:
        """The cube, disc or bin of that name that is on the table."""
        return self._names[name]

    def pose(self, name: str) -> np.ndarray:
        """Middle and quaternion (w, x, y, z) of a cube, disc or bin, (7,)."""
        thing = self._names[name]
        if thing.kind in ("disc", "bin"):
            return np.concatenate([self.data.mocap_pos[thing.qpos], self.data.mocap_quat[thing.qpos]])
        return self.data.qpos[thing.qpos : thing.qpos + 7].copy()

    def speed(self, name: str) -> float:
        """How fast a cube moves, metres a second; turns count with the cube's half edge as their arm."""
        joint = self.model.body_dofadr[self.model.geom_bodyid[self._names[name].geoms[0]]]
        velocity = self.data.qvel[joint : joint + 6]
        return float(np.linalg.norm(velocity[:3]) + self.half_edge * np.linalg.norm(velocity[3:]))

    def is_held(self, name: str) -> bool:
        """Whether the fingers press a cube from opposite sides."""
        self._set_target_geoms(self._names[name].geoms)
        return self._is_grasping() > 0.5

    def is_touched(self, name: str) -> bool:
        """Whether the robot touches a cube."""
        geoms = self.data.contact.geom[: self.data.ncon]
        mine = np.isin(geoms, self._names[name].geoms)
        return bool((mine.any(axis=1) & self._robot_geoms[geoms].any(axis=1)).any())

    def tool(self) -> np.ndarray:
        """The point between the finger tips, (3,), metres."""
        return self.data.site_xpos[self._tcp_site_id].copy()

    def _task_reset(self) -> None:
        model = self.model
        present = {thing.name for thing in self._names.values()}
        for thing in self.things.values():
            geoms = list(thing.geoms)
            shown = thing.name in present
            model.geom_rgba[geoms, 3] = float(shown)
            model.geom_contype[geoms] = model.geom_conaffinity[geoms] = self._colliding[geoms] * shown
            if thing.kind == "cube":
                model.geom_size[geoms] = self.half_edge
                model.geom_rbound[geoms] = self.half_edge * np.sqrt(3)
                model.geom_aabb[geoms, 3:] = self.half_edge
            if not shown:
                self._put(thing, (0.0, 0.0, 0.0), height=-10.0)
        for name, thing in self._names.items():
            if thing.kind in ("disc", "bin"):
                model.geom_rgba[list(thing.geoms), :3] = COLOR_MAP[name.split()[0]][:3]
            self._put(thing, self._layout[name], _rest_height(thing.kind, self.half_edge))

    def _put(self, thing: Thing, place: tuple[float, float, float], height: float) -> None:
        x, y, yaw = place
        pose = [x, y, height, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        if thing.kind in ("disc", "bin"):
            self.data.mocap_pos[thing.qpos], self.data.mocap_quat[thing.qpos] = pose[:3], pose[3:]
        else:
            self.data.qpos[thing.qpos : thing.qpos + 7] = pose

    def _get_info(self) -> dict:
        return {}

    def _compute_reward(self, info: dict) -> float:
        return 0.0

    def _find_things(self) -> list[Thing]:
        found = [self._thing(cube, "cube", CUBE_HALF_EDGE * np.sqrt(2)) for cube in CUBES]
        found.append(self._thing("clutter", "clutter", CLUTTER_RADIUS))
        found += [self._thing(f"disc {i}", "disc", DISC_RADIUS) for i in range(MOST_DISCS)]
        # Two bins may stand corner to corner; that much more than the half width keeps cubes clear of the walls.
        found += [self._thing(f"bin {i}", "bin", BIN_HALF_WIDTH * 1.25) for i in range(MOST_BINS)]
        return found

    def _thing(self, name: str, kind: str, radius: float) -> Thing:
        body = self._id("BODY", name)
        first, count = int(self.model.body_geomadr[body]), int(self.model.body_geomnum[body])
        if kind in ("disc", "bin"):
            at = int(self.model.body_mocapid[body])
        else:
            at = int(self.model.jnt_qposadr[self.model.body_jntadr[body]])
        return Thing(name, kind, tuple(range(first, first + count)), at, radius)

    def _id(self, kind: str, name: str) -> int:
        return int(mujoco.mj_name2id(self.model, getattr(mujoco.mjtObj, f"mjOBJ_{kind}"), name))


def _rest_height(kind: str, half_edge: float) -> float:
    return {"cube": half_edge, "clutter": CLUTTER_RADIUS}.get(kind, PLACE_HALF_THICKNESS)


def _lay_out(things: dict[str, Thing], rng: np.random.Generator) -> dict[str, tuple[float, float, float]]:
    """Places x, y and yaw for each thing, outlines apart by a gap; the widest choose first."""
    order = sorted(things, key=lambda name: -things[name].radius)

    def between(one: str, other: str) -> float:
        flat = any(things[name].kind in ("disc", "bin") for name in (one, other))
        return things[one].radius + things[other].radius + (GAP if flat else GAP_OF_CUBES)

    while True:
        taken: dict[str, tuple[float, float, float]] = {}
        for name in order:
            for _ in range(60):
                radius = np.sqrt(rng.uniform(RADII[0] ** 2, RADII[1] ** 2))
                angle = np.deg2rad(rng.uniform(-HALF_ANGLE_DEG, HALF_ANGLE_DEG))
                x, y = CENTRE[0] + radius * np.cos(angle), CENTRE[1] + radius * np.sin(angle)
                far = (np.hypot(x - taken[o][0], y - taken[o][1]) >= between(name, o) for o in taken)
                if abs(y) <= WIDEST_Y and all(far):
                    # A bin's sides face the arm, as a person would set it.
                    yaw = angle if things[name].kind == "bin" else rng.uniform(0, 2 * np.pi)
                    taken[name] = (float(x), float(y), float(yaw))
                    break
            else:
                break
        if len(taken) == len(things):
            return taken


def _compiled() -> mujoco.MjModel:
    """The robot on its table with all things that an episode may show."""
    spec = mujoco.MjSpec.from_string(
        f'<mujoco model="tables"><worldbody>{SCENE_LIGHTS_XML}'
        f'<geom name="floor" type="plane" size="0 0 0.01" rgba="{_rgba("gray")}"/>{_things_xml()}</worldbody></mujoco>'
    )
    robot = mujoco.MjSpec.from_file(str(get_so101_mujoco_model_path()))
    for name, (kind, first, second, squares) in TEXTURES.items():
        spec.add_texture(
            name=name,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            builtin=getattr(mujoco.mjtBuiltin, f"mjBUILTIN_{kind}"),
            rgb1=first,
            rgb2=second,
            width=128,
            height=128,
        )
        material = spec.add_material(name=name, texrepeat=[squares / 2, squares / 2], texuniform=True)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    # As in so101-nexus' scenes, whose cubes these are.
    robot.visual.headlight.ambient, robot.visual.headlight.diffuse = [0.3] * 3, [0.0] * 3
    robot.visual.headlight.specular = [0.0] * 3
    robot.attach(spec, frame=robot.worldbody.add_frame(), prefix="")
    return robot.compile()


def _things_xml() -> str:
    contact = 'contype="1" conaffinity="1" condim="4" friction="1 0.05 0.001" solref="0.01 1" solimp="0.95 0.99 0.001"'
    parts = []
    for cube in CUBES:
        parts.append(
            f'<body name="{cube}" pos="0 0 -10"><freejoint/><geom type="box" rgba="{_rgba(cube.split()[0])}" '
            f'size="{CUBE_HALF_EDGE} {CUBE_HALF_EDGE} {CUBE_HALF_EDGE}" mass="{CUBE_MASS}" {contact}/></body>'
        )
    colour = " ".join(map(str, CLUTTER_COLOUR))
    parts.append(
        f'<body name="clutter" pos="0 0 -10"><freejoint/><geom type="cylinder" rgba="{colour}" '
        f'size="{CLUTTER_RADIUS} {CLUTTER_RADIUS}" mass="{CUBE_MASS}" {contact}/></body>'
    )
    for i in range(MOST_DISCS):
        parts.append(
            f'<body name="disc {i}" mocap="true" pos="0 0 -10"><geom type="cylinder" contype="0" conaffinity="0" '
            f'size="{DISC_RADIUS} {PLACE_HALF_THICKNESS}"/></body>'
        )
    thick, high, wide = WALL_HALF_THICKNESS, WALL_HEIGHT / 2, BIN_HALF_WIDTH
    for i in range(MOST_BINS):
        walls = "".join(
            f'<geom type="box" pos="{x * wide} {y * wide} {high}" size="{a} {b} {high}" {contact}/>'
            for x, y, a, b in (
                (1, 0, thick, wide),
                (-1, 0, thick, wide),
                (0, 1, wide, thick),
                (0, -1, wide, thick),
            )
        )
        parts.append(
            f'<body name="bin {i}" mocap="true" pos="0 0 -10"><geom type="box" contype="0" conaffinity="0" '
            f'size="{wide} {wide} {PLACE_HALF_THICKNESS}"/>{walls}</body>'
        )
    return "".join(parts)


def _rgba(colour: str) -> str:
    return " ".join(map(str, COLOR_MAP[colour]))
