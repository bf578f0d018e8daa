# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from tiny_arm import JOINT_NAMES

from lerobot_wallwm.embodiment.description import Embodiment
from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.policies.batches.dataset_facts import learn_motion_limits
from lerobot_wallwm.policies.safety.goal_guard import MotionLimits


def what(actions: list[str] | None = None, states: list[str] | None = None, width: int = 0) -> Embodiment:
    """As the names tell."""
    widths = len(actions or ()) or width, len(states or ()) or width
    return recognise(actions, states, widths, None)


def write_rows(root: Path, action, state, episode: list[int]) -> Path:
    """A dataset's folder with nothing but rows."""
    (root / "data" / "chunk-000").mkdir(parents=True)
    table = pa.table({"action": list(action), "observation.state": list(state), "episode_index": episode})
    pq.write_table(table, root / "data" / "chunk-000" / "file-000.parquet")
    return root


class Episodes(dict):
    """As much of LeRobot's episode table as is read."""

    @property
    def column_names(self):
        return list(self)


def test_steps_are_those_inside_episodes(tmp_path):
    action = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [90.0, 5.0], [91.0, 5.0]], np.float32)
    root = write_rows(tmp_path, action, action + 0.25, [0, 0, 0, 1, 1])
    limits = learn_motion_limits(root, None, None, what(["a", "b"], ["b", "a"]))
    assert limits["step"][0] == pytest.approx(2.0, abs=0.01)  # not the 87 between the episodes
    assert limits["step"][1] == 0
    # b is the state's first dimension, a its second.
    assert limits["lead"][1] == pytest.approx(86.25, abs=0.5)


def test_a_jump_between_two_events_of_a_recording_counts(tmp_path):
    action = np.array([[0.0], [0.0], [8.0], [8.0], [99.0]], np.float32)
    root = write_rows(tmp_path, action, action, [0, 0, 1, 1, 2])
    event = {"source_episode": [4, 4, 5], "start": [0, 2, 0], "end": [2, 4, 1], "copy": [0, 0, 0]}
    rows = {"dataset_from_index": [0, 2, 4], "dataset_to_index": [2, 4, 5]}
    episodes = Episodes({f"wallwm/{name}": values for name, values in event.items()} | rows)
    assert learn_motion_limits(root, None, None, what(width=1))["step"] == [0.0]
    assert learn_motion_limits(root, None, episodes, what(width=1))["step"][0] == pytest.approx(8.0, abs=0.1)


def test_events_of_a_real_view_follow_each_other_as_in_the_recording(tiny_dataset, tiny_view):
    """The view's steps, seams included, are the recording's, but for what the view leaves out."""
    found = {}
    for name, root in (("source", tiny_dataset), ("view", tiny_view / "train")):
        meta = LeRobotDatasetMetadata("test/tiny", root=root)
        found[name] = learn_motion_limits(root, meta.stats, meta.episodes, what(JOINT_NAMES, JOINT_NAMES))
    np.testing.assert_allclose(found["view"]["step"], found["source"]["step"], rtol=0.3, atol=0.3)
    assert len(found["view"]["state_low"]) == 6 and max(found["view"]["lead"]) > 0


def test_a_joint_that_jumps_seldom_may_do_so_and_one_that_trembles_does_not_count(tmp_path):
    """A gripper that opens and shuts at once, twice in 1000 ticks; a joint of sensor noise; one that never moved."""
    action = np.zeros((1000, 4), np.float32)
    action[300:700, 0] = 50.0
    action[:, 1] = 30 * np.sin(np.arange(1000) / 20)  # its acceleration is at most 30 / 400
    action[:, 2] = action[:, 1] + np.resize([0.0, 0.01], 1000)
    root = write_rows(tmp_path, action, action, [0] * 500 + [1] * 500)
    found = learn_motion_limits(root, None, None, what(width=4))["acceleration"]
    assert found[0] == 50 and found[3] == 0
    assert found[1] == pytest.approx(0.075, rel=0.02)
    assert found[2] == pytest.approx(0.075 + 0.02, rel=0.05)


def test_what_cannot_be_measured_is_left_out(tmp_path):
    stats = {"observation.state": {"min": np.array([0.0]), "max": np.array([1.0])}}
    assert learn_motion_limits(None, stats, None, what(width=1)) == {"state_low": [0.0], "state_high": [1.0]}
    assert learn_motion_limits(tmp_path, None, None, what(width=1)) == {}


def test_joints_are_found_by_name():
    found = what(["a", "b", "c"], ["c", "a"])
    assert found.follows.tolist() == [1, -1, 0]
    limits = MotionLimits.build(np.zeros(3), np.ones(3), {}, 1.5, found)
    np.testing.assert_array_equal(limits.what.rest(np.array([[7.0, 8.0]])), [[8.0, np.nan, 7.0]])
    assert np.isinf(limits.step).all() and np.isinf(limits.lead).all()


def test_a_joint_that_hardly_moved_can_still_move():
    learned = {"step": [2.0, 0.0]}
    limits = MotionLimits.build(np.array([0.0, 5.0]), np.array([100.0, 5.0]), learned, 2.0, what(width=2))
    assert limits.step.tolist() == [4.0, 1.0] and limits.constant.tolist() == [False, True]
    lifted = MotionLimits.build(np.zeros(2), np.ones(2), learned, 0.0, what(width=2))  # 0 lifts the limit
    assert np.isinf(lifted.step).all()
