# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The SO-101 of ``lerobot_env_so101_sim`` behind the bus: its joints follow the servos' goals, its cameras are the arm's.

Run as a process of its own: ``python -m emulated_arm.mujoco_world``. In lockstep it advances one control period of 1/20 s
per goal, exactly as ``lerobot-eval`` does; otherwise it runs beside the wall's clock in steps of 1/100 s, in a thread of
its own, so that the arm moves on while pictures are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from emulated_arm.camera_server import CameraServer
from emulated_arm.shared import SharedState

# Our choice: ten steps while one camera at 10 Hz draws; each costs well under a millisecond without pictures.
REAL_RATE = 100
# A world that has fallen behind the wall's clock by more than this gives the lost time up.
MOST_BEHIND = 0.1
# The off-screen buffer, and with it the largest picture (drawn at twice its size).
BUFFER = 960
NEVER = 2**31


class MujocoWorld:
    """The scene and its judge.

    Args:
        folder: The emulator's folder.
        state: Shared with the bus.
        split: Colour pairs, see ``lerobot_env_so101_sim.colours``.
        lockstep: Advance with the goals instead of the wall's clock.
    """

    def __init__(self, folder: Path, state: SharedState, split: str, lockstep: bool) -> None:
        from lerobot_env_so101_sim.rendering import choose_backend

        # Before MuJoCo is imported.
        choose_backend()
        import mujoco

        from lerobot_env_so101_sim.configuration import FPS
        from lerobot_env_so101_sim.env import So101PickPlaceEnv
        from lerobot_env_so101_sim.rendering import speed_up_rendering

        self._folder, self._state = folder, state
        rate = FPS if lockstep else REAL_RATE
        self._env = So101PickPlaceEnv(split, episode_length=NEVER, cameras=False, control_rate=rate)
        self.period = 1 / rate
        model = self._env.simulation.model
        speed_up_rendering(model)
        model.vis.global_.offwidth = model.vis.global_.offheight = BUFFER
        self._drawn = mujoco.MjData(model)
        self._copy = mujoco.mj_copyData
        self._cameras: dict[int, object] = {}
        self._pictures: dict[int, tuple[tuple, dict]] = {}
        self._lock = threading.Lock()
        self._held = np.zeros(6)
        self._was_driven = np.zeros(6, bool)
        self._moves = 0
        self.reset()

    def reset(self) -> None:
        """Sets the scene up anew for the seed the bus asked for."""
        state = self._state
        asked, seed = state.get("reset_asked"), state.get("reset_seed")
        with self._lock:
            observation, _ = self._env.reset(seed=seed)
            self._moves += 1
        scene = {
            "seed": seed,
            "cube": self._env.cube_colour,
            "disc": self._env.disc_colour,
            "task": self._env.task_description,
        }
        unfinished = self._folder / ".scene.partial"
        unfinished.write_text(json.dumps(scene), encoding="utf-8")
        unfinished.rename(self._folder / "scene.json")
        state.position[:] = self._held = observation["agent_pos"].astype(np.float64)
        self._was_driven[:] = False
        for name in ("steps", "success", "succeeded", "milestones", "progress"):
            state.set(name, 0)
        state.set("reset_done", asked)

    @property
    def reset_wanted(self) -> bool:
        """Whether the bus asked for a new scene."""
        return self._state.get("reset_asked") > self._state.get("reset_done")

    def advance(self) -> None:
        """One control period towards the servos' goals; limp joints stay where they were let go."""
        state = self._state
        driven = state.driven.astype(bool)
        if state.get("reset_taken") < state.get("reset_done"):
            # The goals are still those of the scene before.
            driven[:] = False
        let_go = self._was_driven & ~driven
        self._held[let_go] = state.position[let_go]
        self._was_driven = driven
        row = np.where(driven, state.goal, self._held)
        with self._lock:
            observation, _, _, _, info = self._env.step(row)
            self._moves += 1
        state.position[:] = observation["agent_pos"]
        state.set("success", int(info["is_success"]))
        if info["is_success"]:
            state.set("succeeded", 1)
        state.set("progress", info["task_progress"])
        state.set("milestones", sum(self._env.progress.flags.values()))
        state.set("steps", state.get("steps") + 1)

    def draw(self, view: str, width: int, height: int) -> np.ndarray:
        """A view's picture, (height, width, 3) uint8."""
        from lerobot_env_so101_sim.rendering import SceneCameras

        model = self._env.simulation.model
        with self._lock:
            moment = self._moves
            # Both views of one moment are drawn together.
            if width in self._pictures and self._pictures[width][0] == (moment, view):
                return self._pictures[width][1][view]
            self._copy(self._drawn, model, self._env.simulation.data)
        if width not in self._cameras:
            self._cameras[width] = SceneCameras(model, width)
        pictures = self._cameras[width].render(self._drawn)
        other = next(name for name in pictures if name != view)
        self._pictures[width] = ((moment, other), pictures)
        return pictures[view]

    @staticmethod
    def accepts(width: int, height: int) -> str | None:
        """Says why a size cannot be drawn."""
        if width != height or width * 2 > BUFFER:
            return f"--world=mujoco draws squares of up to {BUFFER // 2} pixels, not {width} x {height}"
        return None


def run_beside_the_clock(world: MujocoWorld) -> None:
    """Advances the world with the wall's clock, for ever."""
    due = time.monotonic()
    while True:
        if world.reset_wanted:
            world.reset()
        world.advance()
        due += world.period
        now = time.monotonic()
        if now - due > MOST_BEHIND:
            due = now
        time.sleep(max(0.0, due - now))


def main() -> None:
    """Simulates until the emulator goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--lockstep", action="store_true")
    arguments = parser.parse_args()
    state = SharedState(arguments.folder / "state")
    world = MujocoWorld(arguments.folder, state, arguments.split, arguments.lockstep)
    # In lockstep the pictures are those of `lerobot-eval`, bit by bit.
    views = ("wrist", "overhead")
    server = CameraServer(arguments.folder, state, views, world.draw, world.accepts, exact=arguments.lockstep)
    server.selector.register(sys.stdin, 1, "bus")
    if not arguments.lockstep:
        threading.Thread(target=run_beside_the_clock, args=(world,), daemon=True).start()
    print("ready", flush=True)
    while True:
        stepped = False
        for _ in server.wait(longest=1.0):
            if not os.read(sys.stdin.fileno(), 4096):
                # The physics thread may be inside MuJoCo; nothing here needs tidying up.
                os._exit(0)
            stepped = True
        if stepped and arguments.lockstep:
            if world.reset_wanted:
                world.reset()
                state.set("world_step", state.get("goal_step"))
            while state.get("world_step") < state.get("goal_step"):
                world.advance()
                state.set("world_step", state.get("world_step") + 1)
        server.serve(state.get("world_step"), all_due=stepped)


if __name__ == "__main__":
    main()
