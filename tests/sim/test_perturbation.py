# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Perturbed starts: near the contact, not recorded on the way there, and the expert recovers."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lerobot_env_so101_sim.perturbation import CONTACTS, Perturbation
from lerobot_env_so101_sim.record import demonstrate, phase_rows, record

RECORDED = {
    "grasp": ["reach", "descend", "close", "lift", "move", "lower", "open", "retreat"],
    "place": ["move", "lower", "open", "retreat"],
}


@given(st.integers(0, 10**6), st.floats(0.001, 0.1), st.floats(0, 90))
def test_offsets_stay_in_the_ball_and_repeat(seed, radius, yaw):
    drawn = Perturbation.draw(seed, radius, yaw)
    assert np.linalg.norm(drawn.offset) <= radius * (1 + 1e-9)
    assert abs(np.rad2deg(drawn.yaw)) <= yaw + 1e-9
    assert drawn.contact in CONTACTS and drawn == Perturbation.draw(seed, radius, yaw)
    assert drawn.near(np.zeros(3), lowest=0.0)[2] >= 0
    # The choice of the contact moves nothing else.
    assert Perturbation.draw(seed, radius, yaw, "place").offset == drawn.offset


def test_the_ball_is_filled_evenly():
    size = np.array([np.linalg.norm(Perturbation.draw(seed, 0.03, 0).offset) for seed in range(2000)])
    # A uniform ball holds an eighth of its volume within half its radius.
    assert np.mean(size < 0.015) == pytest.approx(1 / 8, abs=0.03)


@pytest.mark.parametrize("values", [(0.0, 0), (-0.01, 0), (0.2, 0), (float("nan"), 0), (0.03, 120)])
def test_values_out_of_range_are_refused(values, tmp_path):
    with pytest.raises(ValueError, match="perturb"):
        Perturbation.draw(0, *values)
    with pytest.raises(ValueError, match="perturb"):
        record(tmp_path / "out", 1, 0, perturb=values[0] or -1.0, perturb_yaw=values[1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("contact", CONTACTS)
def test_the_expert_recovers_from_near_the_contact(blind_env, contact):
    solved = 0
    for seed in (31, 32, 33):
        perturbation = Perturbation.draw(seed, 0.03, 15, contact)
        frames, commands, style, success = demonstrate(blind_env, seed, perturbation)
        solved += success
        if not success:
            continue
        assert [phase for phase, _ in groupby(c.phase for c in commands)] == RECORDED[contact]
        rows = phase_rows(0, seed, commands, style, perturbation)
        assert {row["perturbed"] for row in rows} == {contact} and rows[-1]["end"] == len(frames)
        assert not style.misses_first_grasp and not style.starts_elsewhere
        # It begins at the contact: open fingers before a grasp, closed around the cube before the placing.
        gripper = frames[0]["observation.state"][5]
        assert gripper > 35 if contact == "grasp" else gripper < 35
    assert solved >= 2


def test_the_recording_begins_where_the_perturbation_says(blind_env):
    near, far = (Perturbation("grasp", (0.0, 0.0, z), 0.0) for z in (0.0, 0.05))
    solver_frames = [demonstrate(blind_env, 41, p)[0][0]["observation.state"] for p in (near, far)]
    simulation = blind_env.simulation
    heights = []
    for state in solver_frames:
        import mujoco

        scratch = mujoco.MjData(simulation.model)
        scratch.qpos[:6] = blind_env.to_joints(state)
        mujoco.mj_kinematics(simulation.model, scratch)
        tool = mujoco.mj_name2id(simulation.model, mujoco.mjtObj.mjOBJ_SITE, "gripperframe")
        heights.append(scratch.site_xpos[tool][2])
    assert heights[0] == pytest.approx(0.015, abs=0.008)
    assert heights[1] - heights[0] == pytest.approx(0.05, abs=0.008)


def test_unperturbed_demonstrations_are_as_before(blind_env):
    plain, commands, style, _ = demonstrate(blind_env, 61)
    demonstrate(blind_env, 61, Perturbation.draw(61, 0.03, 10))
    again, *_ = demonstrate(blind_env, 61, None)
    for key in ("action", "observation.state"):
        np.testing.assert_array_equal(
            np.stack([frame[key] for frame in plain]), np.stack([frame[key] for frame in again])
        )
    assert "perturbed" not in phase_rows(0, 61, commands, style)[0]


def test_a_perturbed_recording_loads_and_says_what_was_drawn(tmp_path, monkeypatch):
    import pyarrow.parquet as pq
    from lerobot.datasets import LeRobotDataset

    from lerobot_env_so101_sim import record as record_module
    from lerobot_env_so101_sim.env import So101PickPlaceEnv

    monkeypatch.setattr(
        record_module, "So101PickPlaceEnv", lambda split: So101PickPlaceEnv(split=split, cameras=False)
    )
    root = tmp_path / "near"
    summary = record(root, 1, 31, perturb=0.02, perturb_yaw=10, perturb_at="place")
    dataset = LeRobotDataset("local/near", root=root)
    assert dataset.num_frames == summary["frames"] and dataset.num_episodes == 1
    rows = pq.read_table(tmp_path / "near_phases.parquet").to_pylist()
    assert [row["phase"] for row in rows] == RECORDED["place"]
    drawn = Perturbation.draw(rows[0]["seed"], 0.02, 10, "place")
    assert drawn.columns().items() <= rows[0].items()
