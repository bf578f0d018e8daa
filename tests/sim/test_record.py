# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the recorder writes, and what is committed."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lerobot_env_so101_sim.colours import SEEN_PAIRS, instruction

DATA = Path(__file__).parents[2] / "examples" / "so101_sim" / "data"
COMMITTED = DATA / "so101_pick_place"
PHASES = DATA / "so101_pick_place_phases.parquet"


def _load(root, **kwargs):
    from lerobot.datasets import LeRobotDataset

    return LeRobotDataset(f"local/{root.name}", root=root, **kwargs)


@pytest.fixture(scope="module")
def recorded(make_env, tmp_path_factory):
    """Two fresh episodes; ``make_env`` is asked for only because it skips where nothing can render."""
    from lerobot_env_so101_sim.record import record

    root = tmp_path_factory.mktemp("record") / "tiny"
    summary = record(root, episodes=2, seed=300)
    return root, summary


def test_recording_loads_with_lerobot_and_holds_no_ground_truth(recorded):
    root, summary = recorded
    dataset = _load(root)
    assert dataset.num_episodes == summary["episodes"] == 2
    assert dataset.num_frames == summary["frames"]
    assert dataset.meta.robot_type == "so101_follower"
    assert dataset.fps == 20
    assert dataset.meta.features["action"]["names"][0] == "shoulder_pan.pos"
    assert dataset.meta.features["action"]["names"][-1] == "gripper.pos"
    assert not [name for name in dataset.meta.features if "phase" in name or "contact" in name]
    assert not list(root.parent.glob(".*partial*"))
    rows = pq.read_table(root.with_name("tiny_phases.parquet")).to_pylist()
    for episode in range(2):
        of_episode = [row for row in rows if row["episode_index"] == episode]
        assert of_episode[-1]["end"] == int(dataset.meta.episodes[episode]["length"])


def test_recorded_frames_look_like_what_the_policy_sees(recorded, env):
    root, _ = recorded
    dataset = _load(root)
    seed = pq.read_table(root.with_name("tiny_phases.parquet")).to_pylist()[0]["seed"]
    from lerobot_env_so101_sim.env import So101PickPlaceEnv
    from lerobot_env_so101_sim.record import demonstrate

    seen = So101PickPlaceEnv(split="seen")
    frames, *_ = demonstrate(seen, seed)  # the first frame follows the way to a start elsewhere
    item = dataset[0]
    assert item["task"] == seen.task_description
    np.testing.assert_allclose(item["observation.state"], frames[0]["observation.state"], atol=1e-6)
    for camera in ("wrist", "overhead"):
        decoded = item[f"observation.images.{camera}"].permute(1, 2, 0).numpy() * 255
        shown = frames[0][f"observation.images.{camera}"].astype(float)
        error = np.mean((decoded - shown) ** 2)
        assert 10 * np.log10(255**2 / error) > 27, camera
    seen.close()


def test_recorder_refuses_to_overwrite(recorded):
    from lerobot_env_so101_sim.record import record

    root, _ = recorded
    with pytest.raises(FileExistsError, match=root.name):
        record(root, episodes=1, seed=0)


def test_committed_dataset_is_small_complete_and_on_seen_pairs():
    files = [path for path in COMMITTED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    dataset = _load(COMMITTED)
    assert dataset.num_episodes >= 40
    allowed = {instruction(*pair) for pair in SEEN_PAIRS}
    assert set(dataset.meta.tasks.index) <= allowed
    rows = pq.read_table(PHASES).to_pylist()
    assert {row["episode_index"] for row in rows} == set(range(dataset.num_episodes))


def test_committed_episodes_are_recorded_again_bit_for_bit():
    """The seen split and the expert of one cube and one disc do not change, whatever the simulator learns besides."""
    from lerobot_env_so101_sim.env import So101PickPlaceEnv
    from lerobot_env_so101_sim.record import demonstrate

    env = So101PickPlaceEnv(split="seen", cameras=False)
    columns = _load(COMMITTED).hf_dataset.with_format(
        "numpy", columns=["action", "observation.state", "episode_index"]
    )
    seeds = {row["episode_index"]: row["seed"] for row in pq.read_table(PHASES).to_pylist()}
    for episode in (0, 1, 2, 9):
        own = np.asarray(columns["episode_index"]) == episode
        frames, *_ = demonstrate(env, seeds[episode])
        for key in ("action", "observation.state"):
            np.testing.assert_array_equal(np.stack([f[key] for f in frames]), np.stack(columns[key])[own])
    env.close()


def test_replaying_recorded_actions_solves_most_episodes():
    from lerobot_env_so101_sim.env import So101PickPlaceEnv

    rows = pq.read_table(PHASES).to_pylist()
    # Noisy episodes replay without their noise; a clean subset keeps this short. What came before a start elsewhere is
    # not in the record.
    seeds = {
        row["episode_index"]: row["seed"]
        for row in rows
        if not row["missed_grasp"] and not row["starts_elsewhere"]
    }
    env = So101PickPlaceEnv(split="seen", cameras=False)
    dataset = _load(COMMITTED)
    columns = dataset.hf_dataset.with_format("numpy", columns=["action", "episode_index"])
    actions, episodes = np.stack(columns["action"]), np.asarray(columns["episode_index"])
    chosen = list(seeds)[:8]
    solved = 0
    for episode in chosen:
        env.reset(seed=seeds[episode])
        for action in actions[episodes == episode]:
            *_, info = env.step(action)
        solved += info["is_success"]
    env.close()
    assert solved >= 6
