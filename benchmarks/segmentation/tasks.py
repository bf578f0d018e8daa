# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Demonstrations of scripted experts with known phases: state and action only, nothing is rendered.

* robo-evals (20 Hz, floating gripper, steps of the end effector): the expert names its phase itself.
* Meta-World (80 Hz, Sawyer, steps of the end effector): a phase is a pair of the policy's gripper command (shutting or not)
  and the robot's contact with a movable object; a gap in contact of up to 0.25 s is chatter. The branches of the policy
  (above, down) are not phases.

State and action are what a LeRobot dataset of these robots holds: position and gripper opening, no object poses. Episodes
go on for 0.5 s after success, as a person's do. A phase shorter than 0.1 s, the tolerance of the score, belongs to the one
before it. Failed episodes are skipped.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.rows import CannotRunError
from benchmarks.segmentation.two_arms import described
from lerobot_wallwm.processors.source.episodes import Episode

ROBO_EVALS = ("reach", "push", "pick_place", "drawer", "stack")
META_WORLD: tuple[str, ...] = (
    "pick-place-v3",
    "push-v3",
    "drawer-open-v3",
    "door-open-v3",
    "button-press-topdown-v3",
)
META_WORLD += ("window-open-v3", "hammer-v3", "assembly-v3", "coffee-pull-v3", "basketball-v3")
TAIL_S = 0.5
_NAMES = ("x", "y", "z", "gripper")


def phase_starts(phases: Sequence[Hashable], least: int) -> list[int]:
    """First frames of all phases but the first; a phase of fewer than `least` frames belongs to the one before."""
    edges = [t for t in range(1, len(phases)) if phases[t] != phases[t - 1]]
    kept: list[int] = []
    current = phases[0]
    for start, end in zip(edges, [*edges[1:], len(phases)][: len(edges)], strict=True):
        if end - start >= least and start >= least and phases[start] != current:
            kept.append(start)
            current = phases[start]
    return kept


class Labelled(NamedTuple):
    """A demonstration, where its phases start, and which verbs each of its frames may have; an empty set claims none."""

    episode: Episode
    starts: list[int]
    verbs: list[frozenset[str]]


# Verbs that name what happens in a phase of robo-evals. Ending a drawer's opening, the gripper lets go.
VERBS = {
    "above": {"reach"},
    "pregrasp": {"reach", "release", "retreat"},
    "approach": {"reach", "approach"},
    "descend": {"reach", "approach"},
    "grasp": {"grasp"},
    "carry": {"lift", "move"},
    "pull": {"move", "manipulate"},
    "push": {"manipulate"},
    "lower": {"lower"},
    "release": {"release"},
    "lift": {"retreat"},
    "retreat": {"retreat"},
}


def record_robo_evals(
    task: str, seeds: Sequence[int], watch: Callable[[Any, int], object] = lambda env, seed: None
) -> list[Labelled]:
    """Episodes of one task of robo-evals; `watch` is called before each step.

    Raises:
        CannotRunError: robo-evals is not installed.
    """
    try:
        from robo_evals.policies import ScriptedPolicy
        from robo_evals.tasks import make_task
    except ImportError as error:
        raise CannotRunError(f"{error}. Fix: pip install robo-evals==0.2.1") from error
    env, policy, fps = make_task(task), ScriptedPolicy(), 20
    episodes = []
    for seed in seeds:
        observation, success = env.reset(seed), False
        policy.reset(task, seed)
        states, actions, phases, left = [], [], [], round(TAIL_S * fps)
        while left and len(actions) < env.max_steps:
            watch(env, seed)
            states.append([*observation["ee_pos"], *observation["gripper"]])
            actions.append(policy(observation))
            phases.append(policy.phase)
            result = env.step(actions[-1])
            observation, success = result.observation, success or result.success
            left -= success
        if success:
            episode = _episode(seed, env.instruction, fps, states, actions)
            verbs = [frozenset(VERBS.get(phase, ())) for phase in phases]
            episodes.append(Labelled(episode, phase_starts(phases, round(0.1 * fps)), verbs))
    return as_a_dataset(episodes)


def record_meta_world(task: str, seeds: Sequence[int]) -> list[Labelled]:
    """Episodes of one task of Meta-World and where their phases start; contact alone claims no verb.

    Raises:
        CannotRunError: Meta-World is not installed.
    """
    try:
        import metaworld
        from metaworld.policies import ENV_POLICY_MAP
    except ImportError as error:
        raise CannotRunError(f"{error}. Fix: pip install metaworld==3.0.0") from error
    fps, episodes = 80, []
    suite = metaworld.MT1(task, seed=0)
    env = suite.train_classes[task]()
    robot, movable = _bodies(env.model)
    for seed in seeds:
        # Fifty scenes a task: seeds from 1000 take others than those that tune.
        env.set_task(suite.train_tasks[(seed + 25 * (seed // 1000)) % len(suite.train_tasks)])
        env.seed(seed)
        observation, _ = env.reset(seed=seed)
        policy, success = ENV_POLICY_MAP[task](), False
        states, actions, shut, touched, left = [], [], [], [], round(TAIL_S * fps)
        while left and len(actions) < 500:
            states.append(observation[:4])
            actions.append(np.clip(policy.get_action(observation), -1, 1))
            bodies = env.model.geom_bodyid[env.data.contact.geom].reshape(-1, 2)
            pairs = robot[bodies] & movable[bodies[:, ::-1]]
            shut.append(bool(actions[-1][3] > 0))
            touched.append(bool(pairs.any()))
            observation, _, _, _, info = env.step(actions[-1])
            success = success or bool(info["success"])
            left -= success
        if success:
            episode = _episode(seed, task.removesuffix("-v3").replace("-", " "), fps, states, actions)
            phases = list(zip(shut, without_gaps(touched, round(0.25 * fps)), strict=True))
            episodes.append(
                Labelled(episode, phase_starts(phases, round(0.1 * fps)), [frozenset()] * len(phases))
            )
    return as_a_dataset(episodes)


def as_a_dataset(labelled: Sequence[Labelled]) -> list[Labelled]:
    """The same, with what their action and state are told by all of them together, as `wallwm prepare` does it."""
    if not labelled:
        return []
    what = described([one.episode for one in labelled])
    return [one._replace(episode=replace(one.episode, embodiment=what)) for one in labelled]


def without_gaps(touched: Sequence[bool], longest: int) -> list[bool]:
    """Closes gaps of up to `longest` frames between two touches."""
    closed = list(touched)
    touches = [t for t, touch in enumerate(touched) if touch]
    for before, after in zip(touches, touches[1:], strict=False):
        if after - before - 1 <= longest:
            closed[before:after] = [True] * (after - before)
    return closed


def _episode(seed: int, task: str, fps: int, states: list, actions: list) -> Episode:
    # Datasets hold float32.
    state, action = (np.asarray(v, dtype=np.float32).astype(np.float64) for v in (states, actions))
    return Episode(seed, task, fps, state, action, _NAMES, _NAMES)


def _bodies(model) -> tuple[np.ndarray, np.ndarray]:
    """Which bodies are the robot, and which are no part of it and can move."""
    robot = model.body_rootid == model.body_rootid[model.body("hand").id]
    movable = np.zeros(model.nbody, dtype=bool)
    for b in range(1, model.nbody):
        movable[b] = not robot[b] and (movable[model.body_parentid[b]] or model.body_dofnum[b] > 0)
    return robot, movable
