# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The scripted expert solves the task in named phases that begin and end at rest."""

from itertools import groupby

import numpy as np
import pytest

from lerobot_env_so101_sim.record import demonstrate, phase_rows

USUAL = ["reach", "descend", "close", "lift", "move", "lower", "open", "retreat"]
MISSED = ["reach", "descend", "close", "open", *USUAL]


def _phases(commands):
    return [phase for phase, _ in groupby(command.phase for command in commands)]


def _play(env, seed, **style):
    from lerobot_env_so101_sim.expert import Expert, Style

    env.reset(seed=seed)
    expert = Expert(env, np.random.default_rng(seed), Style(pace=1.0, **style))
    commands = []
    for command in expert.commands():
        commands.append(command)
        *_, info = env.step(command.executed)
    return commands, info


@pytest.mark.parametrize(("seed", "noisy"), [(31, False), (32, False), (33, True), (34, True)])
def test_expert_solves_the_task_in_smooth_phases(blind_env, seed, noisy):
    commands, info = _play(blind_env, seed, noisy=noisy, misses_first_grasp=False)
    assert info["is_success"] and info["task_progress"] == 100.0
    assert _phases(commands) == USUAL
    planned = np.stack([command.planned for command in commands])
    speed = np.abs(np.diff(planned, axis=0)).max(axis=1)
    ends = np.cumsum([len(list(run)) for _, run in groupby(command.phase for command in commands)])[:-1]
    assert speed[ends - 1].max() < 0.25 * speed.max(), "the arm does not come to rest between phases"
    # Noise reaches the arm but not the record.
    executed = np.stack([command.executed for command in commands])
    noise = np.abs(executed - planned)[:, :5].mean()
    assert 0.2 < noise < 5.0 if noisy else noise == 0.0


def test_a_missed_grasp_is_followed_by_a_second_try(blind_env):
    commands, info = _play(blind_env, 41, noisy=False, misses_first_grasp=True)
    assert _phases(commands) == MISSED
    assert info["is_success"]


def test_demonstrations_repeat_and_phase_rows_cover_them(blind_env):
    frames, commands, style, _ = demonstrate(blind_env, 61)
    again, *_ = demonstrate(blind_env, 61)
    np.testing.assert_array_equal(
        np.stack([frame["action"] for frame in frames]), np.stack([frame["action"] for frame in again])
    )
    rows = phase_rows(3, 61, commands, style)
    assert rows[0]["start"] == 0 and rows[-1]["end"] == len(frames)
    assert all(one["end"] == other["start"] for one, other in zip(rows, rows[1:], strict=False))
    assert {row["episode_index"] for row in rows} == {3}


def test_the_gripper_motor_tells_when_it_holds(blind_env):
    seed = 40
    while True:
        frames, commands, style, success = demonstrate(blind_env, seed, effort=True)
        if success and not style.misses_first_grasp:
            break
        seed += 1
    effort = np.abs(np.stack([frame["observation.effort"] for frame in frames])[:, 5])
    phases = np.array([command.phase for command in commands])
    assert (
        np.median(effort[np.isin(phases, ["lift", "move", "lower"])])
        > 1.0
        > 5 * np.median(effort[phases == "retreat"])
    )
    assert "observation.effort" not in demonstrate(blind_env, seed)[0][0]
