# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch

from lerobot_wallwm.policies.safety.observation_watch import ObservationWatch, thin

TICK = 1 / 30
KEY = "observation.images.wrist"


def make() -> ObservationWatch:
    return ObservationWatch([KEY], np.array([100.0, 50.0]), np.array([100.0, 50.0]), ["pan", "lift"])


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def run(watch, ticks, picture, pose, goals=None, rows=1):
    """Kinds of fault at each tick; the arguments are functions of the tick."""
    kinds = []
    for k in range(ticks):
        state = np.broadcast_to(np.asarray(pose(k), float), (rows, 2))
        goal = None if goals is None else np.broadcast_to(np.asarray(goals(k), float), (rows, 2))
        faults = watch.look({KEY: picture(k)}, state, goal, k * TICK)
        kinds.append([(f.kind, f.row) for f in faults])
    return kinds


def dim(k: int) -> torch.Tensor:
    return pictures(k) * 0.1


@pytest.mark.parametrize(
    ("picture", "pose", "goals"),
    [
        (pictures, lambda k: (k, 0), lambda k: (k, 0)),  # living pictures
        (lambda k: pictures(0), lambda k: (3.0, 0), lambda k: (3.0, 0)),  # a simulator, for ever at rest
        (lambda k: pictures(k // 4), lambda k: (5 * k, 0), None),  # 7.5 pictures a second
        (pictures, lambda k: (0, 0), lambda k: (k, 0)),  # a stuck arm before living cameras
        (dim, lambda k: (0, 0), None),
    ],
)
def test_what_raises_nothing(picture, pose, goals):
    assert not any(run(make(), 90, picture, pose, goals))


def test_the_same_picture_from_a_moving_arm_is_frozen():
    kinds = run(make(), 60, lambda k: pictures(min(k, 10)), lambda k: (k, 0))
    # Half a second after the picture of tick 10, though the arm had moved by 5 of 100 long before; and from then on.
    assert kinds == [[]] * 25 + [[("frozen_camera", 0)]] * 35


def test_a_frozen_picture_comes_back_to_life():
    kinds = run(make(), 80, lambda k: pictures(min(k, 10) if k < 50 else k), lambda k: (k, 0))
    assert kinds[49] and not any(kinds[50:])


def test_frozen_is_told_with_the_joint_that_moved():
    watch = make()
    for k in range(40):
        faults = watch.look({KEY: pictures(0)}, np.array([[0.0, 0.5 * k]]), None, k * TICK)
    assert "'observation.images.wrist' has shown the same picture for 1.3 s" in faults[0].detail
    assert "lift moved by 39% of its range" in faults[0].detail


@pytest.mark.parametrize("value", [0.0, 0.02, 0.5, 1.0])
def test_dark_and_blank_pictures_show_at_once(value):
    kinds = run(make(), 1, lambda k: torch.full((1, 3, 16, 16), value), lambda k: (0, 0))
    assert kinds == [[("dark_camera", 0)]]


def test_an_observation_that_never_changes_is_stale_once_goals_move():
    kinds = run(make(), 40, lambda k: pictures(0), lambda k: (0, 0), lambda k: (k, 0))
    assert kinds[:16] == [[]] * 15 + [[("stale_observation", 0)]]


def test_robots_of_a_batch_are_told_apart():
    def picture(k):
        return torch.stack([pictures(k)[0], pictures(0)[0]])

    kinds = run(make(), 40, picture, lambda k: (k, 0), rows=2)
    assert kinds[-1] == [("frozen_camera", 1)]


def test_a_state_that_is_no_number_is_named():
    faults = make().look({KEY: pictures(0)}, np.array([[0.0, np.nan]]), None, 0.0)
    assert [(f.kind, f.detail) for f in faults] == [("bad_state", "lift not finite")]


def test_large_pictures_are_thinned_and_copied():
    picture = torch.zeros(1, 3, 480, 640)
    seen = thin(picture)
    assert seen.shape == (1, 3, 120, 160)
    picture.fill_(1.0)  # a camera that writes every frame into the same memory
    assert not seen.any()
    assert float(thin(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)).max()) == 1.0
