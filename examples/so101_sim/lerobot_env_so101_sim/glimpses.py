# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Moments of demonstrations, and where in their pictures lies what the task names.

The demonstrator works unseen but for a few moments, which costs a tenth of a recorded demonstration: many scenes can be
had. No real dataset has such places; they are for base weights, made in the scenes of `wide.py`, and for measuring.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from lerobot_env_so101_sim.configuration import CAMERAS
from lerobot_env_so101_sim.env import So101PickPlaceEnv
from lerobot_env_so101_sim.expert import Expert

# How many of a demonstration's moments. Our choice.
SHARE = 0.08
POINTS = ("object", "target", "tool")
# Nearer to an edge than this a point counts as out of the picture, which spans -1 to 1.
WITHIN = 0.98


@dataclass(frozen=True)
class Glimpse:
    """One moment.

    Attributes:
        pictures: ``(V, H, W, 3)`` uint8, in the order of `CAMERAS`.
        places: ``(V, 3, 2)`` where the `POINTS` lie, x and y from -1 to 1 between the picture's edges; NaN for a point
            that is out of the picture, or that the task does not have. Points that something hides count as well.
        task: The instruction.
    """

    pictures: np.ndarray
    places: np.ndarray
    task: str


def glimpses(env: So101PickPlaceEnv, seed: int) -> list[Glimpse]:
    """Moments of the demonstration that a seed gives, up to a waypoint out of the arm's reach."""
    env.reset(seed=seed)
    drawn = np.random.default_rng([seed, 303])
    found = []
    with env.unseen() as cameras:
        try:
            for command in Expert(env, np.random.default_rng([seed, 202])).commands():
                if drawn.random() < SHARE:
                    found.append(_glimpse(env, cameras))
                env.step(command.executed)
        except ValueError:
            pass
    return found


def _glimpse(env: So101PickPlaceEnv, cameras) -> Glimpse:
    simulation = env.simulation
    tool = mujoco.mj_name2id(simulation.model, mujoco.mjtObj.mjOBJ_SITE, "gripperframe")
    points = (simulation._get_object_pose()[:3], env.named_target(), simulation.data.site_xpos[tool])
    pictures = cameras.render(simulation.data)
    places = np.full((len(CAMERAS), len(points), 2), np.nan, np.float32)
    for v, camera in enumerate(CAMERAS):
        for k, point in enumerate(points):
            if point is not None:
                place = cameras.project(simulation.data, camera, point)
                places[v, k] = place if np.abs(place).max() < WITHIN else np.nan
    return Glimpse(np.stack([pictures[name] for name in CAMERAS]), places, env.task_description)
