# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Task Progress: order, monotony, weights."""

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from lerobot_env_so101_sim.task_progress import MILESTONES, WEIGHTS, SceneTruth, TaskProgress

FAR = SceneTruth(tool_to_cube=0.2, grasped=False, lift_height=0.0, over_disc=False, placed=False)
AT_CUBE = replace(FAR, tool_to_cube=0.01)
HELD = replace(AT_CUBE, grasped=True)
LIFTED = replace(HELD, lift_height=0.06)
OVER_DISC = replace(LIFTED, over_disc=True)
RELEASED = replace(AT_CUBE, over_disc=True, placed=True)
RETREATED = replace(RELEASED, tool_to_cube=0.1)
PERFECT = (FAR, AT_CUBE, HELD, LIFTED, OVER_DISC, RELEASED, RETREATED)

truths = st.builds(
    SceneTruth,
    tool_to_cube=st.floats(0, 0.3),
    grasped=st.booleans(),
    lift_height=st.floats(-0.01, 0.2),
    over_disc=st.booleans(),
    placed=st.booleans(),
)


def test_perfect_episode_collects_every_weight_in_turn():
    progress = TaskProgress()
    scores = [progress.update(truth) for truth in PERFECT]
    assert scores == [0.0, 10.0, 35.0, 50.0, 70.0, 90.0, 100.0]
    assert progress.complete
    assert sum(WEIGHTS.values()) == 100.0


def test_a_drop_keeps_what_was_reached():
    progress = TaskProgress()
    for truth in (AT_CUBE, HELD, LIFTED, FAR):
        progress.update(truth)
    assert progress.score == 50.0
    assert [name for name, passed in progress.flags.items() if passed] == list(MILESTONES[:3])


def test_pushing_the_cube_onto_the_disc_earns_only_the_reach():
    progress = TaskProgress()
    for truth in (AT_CUBE, RELEASED, RETREATED):
        progress.update(truth)
    assert progress.score == WEIGHTS["reached"]


def test_throwing_the_cube_away_above_the_disc_earns_no_release():
    progress = TaskProgress()
    for truth in (AT_CUBE, HELD, LIFTED, OVER_DISC, replace(OVER_DISC, grasped=False), FAR):
        progress.update(truth)
    assert progress.score == 70.0
    assert not progress.complete


@given(st.lists(truths, max_size=30))
def test_score_never_falls_and_flags_are_a_prefix(episode):
    progress = TaskProgress()
    last = 0.0
    for truth in episode:
        score = progress.update(truth)
        assert last <= score <= 100.0
        last = score
        flags = list(progress.flags.values())
        assert flags == sorted(flags, reverse=True)
        assert score == pytest.approx(sum(w for w, f in zip(WEIGHTS.values(), flags, strict=True) if f))
