# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Fresh demonstrations of the simulated SO-101's scripted expert, without cameras: 1 to 2 s each, no OpenGL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from tqdm import tqdm

from lerobot_wallwm.processors.source.episodes import Episode


@dataclass(frozen=True)
class Demonstration:
    """One try of the expert.

    Attributes:
        episode: What it recorded.
        phases: Name and end (a frame, exclusive) of each of its phases.
        missed: Whether it missed its first grasp.
        success: The simulator's verdict.
    """

    episode: Episode
    phases: list[tuple[str, int]]
    missed: bool
    success: bool

    @property
    def boundaries(self) -> list[int]:
        """Interior boundaries: where every phase but the first starts."""
        return [end for _, end in self.phases[:-1]]


def demonstrations(
    seeds: Iterable[int], effort: bool = False, perturbations: dict[int, Any] | None = None
) -> Iterator[Demonstration]:
    """One try a seed, with actuator forces or from perturbed starts if asked for."""
    from lerobot_env_so101_sim.env import MOTORS, So101PickPlaceEnv
    from lerobot_env_so101_sim.record import demonstrate

    names = tuple(f"{motor}.pos" for motor in MOTORS)
    env = So101PickPlaceEnv(split="all", cameras=False)
    for seed in tqdm(seeds, desc="demonstrating", unit=" episodes", leave=False):
        frames, commands, style, success = demonstrate(
            env, seed, (perturbations or {}).get(seed), effort=effort
        )
        state, action = (
            np.stack([f[key] for f in frames]).astype(np.float64) for key in ("observation.state", "action")
        )
        fps = float(env.metadata["render_fps"])
        episode = Episode(seed, env.task_description, fps, state, action, names, names)
        if effort:
            forces = np.stack([f["observation.effort"] for f in frames]).astype(np.float64)
            joints = tuple(f"{motor}.effort" for motor in MOTORS)
            episode = replace(episode, effort=forces, effort_names=joints)
        phases, end = [], 0
        for phase, run in groupby(commands, key=lambda command: command.phase):
            end += len(list(run))
            phases.append((phase, end))
        yield Demonstration(episode, phases, style.misses_first_grasp, success)
    env.close()


def measured(episode: Episode) -> Episode:
    """The episode as if its commands had not been recorded: the arm's own positions, with lag and execution noise."""
    return replace(episode, action=np.vstack([episode.state[1:], episode.state[-1:]]))
