# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One rendering backend for all simulator tests, or one clear reason to skip them."""

import os
import sys

import pytest

from lerobot_env_so101_sim.rendering import APT_HINT, BACKENDS, backend_works

# MuJoCo binds a backend when first imported, so it is chosen here, before any test module of this folder loads.
if "MUJOCO_GL" not in os.environ and "mujoco" not in sys.modules:
    for _backend in BACKENDS:
        if backend_works(_backend):
            os.environ["MUJOCO_GL"] = _backend
            break


@pytest.fixture(scope="session")
def make_env():
    """Builds unwrapped environments and closes them at the end; skips where OpenGL is missing."""
    if "MUJOCO_GL" not in os.environ:
        pytest.skip(APT_HINT)
    from lerobot_env_so101_sim.env import So101PickPlaceEnv

    made = []

    def make(**kwargs):
        made.append(So101PickPlaceEnv(**kwargs))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture(scope="session")
def blind_env():
    """An environment over all colour pairs that draws nothing: faster, and it needs no OpenGL."""
    from lerobot_env_so101_sim.env import So101PickPlaceEnv

    env = So101PickPlaceEnv(split="all", cameras=False)
    yield env
    env.close()


@pytest.fixture(scope="session")
def env(make_env):
    """One shared environment over all colour pairs."""
    return make_env(split="all")
