# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Tests of what base weights are made of: places in pictures, and an eye that learns to find them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "base_weights.py"
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 200)}


@pytest.fixture(scope="module")
def base_weights():
    spec = importlib.util.spec_from_file_location("base_weights", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_named_object_is_where_its_place_says(make_env):
    from lerobot_env_so101_sim.wide import So101WideEnv

    env, near, away = So101WideEnv(), [], []
    for seed in range(12):
        picture = env.reset(seed=seed)[0]["pixels"]["overhead"].astype(int)
        rgba = env.simulation.model.geom_rgba[
            env.simulation._slots[env.simulation._target_slot_idx].geom_ids[0]
        ]
        where = env._cameras.project(env.simulation.data, "overhead", env.simulation._get_object_pose()[:3])
        if np.abs(where).max() < 0.9:
            x, y = ((where + 1) / 2 * picture.shape[0]).astype(int)
            # Shading changes how bright a colour is, and not which.
            hue = picture[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1)), picture.mean((0, 1))
            angles = [np.dot(h, rgba[:3]) / np.linalg.norm(h) / np.linalg.norm(rgba[:3]) for h in hue]
            near.append(angles[0])
            away.append(angles[1])
    env.close()
    assert len(near) >= 8 and np.median(near) > 0.97 and np.median(away) < np.median(near)


def test_glimpses_are_moments_of_the_demonstration(make_env):
    from lerobot_env_so101_sim.glimpses import glimpses
    from lerobot_env_so101_sim.wide import So101WideEnv

    env = So101WideEnv()
    first, again = glimpses(env, 5), glimpses(env, 5)
    assert len(first) == len(again) > 2
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.pictures, b.pictures)
        np.testing.assert_array_equal(a.places, b.places)
    assert first[0].pictures.any() and env.reset(seed=5)[0]["pixels"]["wrist"].any()
    env.close()


def test_an_eye_learns_to_find_what_is_named(base_weights, tmp_path):
    """Two squares of different colours lie anywhere; only the sentence says which of them is meant."""
    rng = np.random.default_rng(0)
    count, size, half = 480, 96, 6
    pictures = np.full((count, 1, size, size, 3), 128, np.uint8)
    places, tasks = np.full((count, 1, 3, 2), np.nan, np.float32), []
    for i in range(count):
        named, other = rng.choice(list(COLOURS), 2, replace=False)
        corners = np.array([[20, 20], [60, 60]]) + rng.integers(-12, 13, (2, 2))
        for colour, (x, y) in zip((named, other), rng.permutation(corners), strict=True):
            pictures[i, 0, y - half : y + half, x - half : x + half] = COLOURS[colour]
            if colour == named:
                places[i, 0, 0] = np.array([x, y]) / size * 2 - 1
        tasks.append(f"pick up the {named} cube")
    file = tmp_path / "scenes.npz"
    shown = {"pictures": pictures, "places": places, "scenes": np.arange(count)}
    np.savez(file, tasks=np.array(tasks), **shown)
    assert base_weights.train_eye(file, steps=60)[1]["wrist, object"] < 2
    np.savez(file, tasks=rng.permutation(tasks), **shown)
    assert base_weights.train_eye(file, steps=60)[1]["wrist, object"] > 8
