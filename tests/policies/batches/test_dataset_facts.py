# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.dataset_facts import final_actions, measure


def write_rows(root, number: int = 0, **columns) -> None:
    folder = root / "data" / "chunk-000"
    folder.mkdir(parents=True, exist_ok=True)
    table = {name.replace("__", "."): list(values) for name, values in columns.items()}
    pq.write_table(pa.table(table), folder / f"file-{number:03d}.parquet")


def space_of(actions: int, states: int) -> ActionSpace:
    """Both dimensions follow the state's."""
    what = recognise(None, None, (actions, states), None)
    what = replace(what, action=tuple(replace(dim, follows=d) for d, dim in enumerate(what.action)))
    return ActionSpace(what, [True] * actions)


def displacement_std(root, horizon: int, space: ActionSpace | None = None):
    found = measure(root, horizon, space or space_of(2, 2))
    return None if found is None else found.displacement


def test_displacement_spread_equals_a_plain_loop(tmp_path):
    rng = np.random.default_rng(0)
    action, state = (rng.normal(size=(30, 2)).astype(np.float32) for _ in range(2))
    episodes = np.repeat([0, 1, 2], [12, 3, 15])
    write_rows(tmp_path, action=action, observation__state=state, episode_index=episodes)
    pairs = [(t, t + k) for t in range(30) for k in range(5) if t + k < 30]
    squares = [(action[u] - state[t]) ** 2 for t, u in pairs if episodes[u] == episodes[t]]
    expected = torch.tensor(np.sqrt(np.mean(squares, axis=0)), dtype=torch.float32)
    torch.testing.assert_close(displacement_std(tmp_path, 5), expected, rtol=1e-5, atol=1e-6)


def test_displacement_spread_needs_comparable_rows(tmp_path):
    assert displacement_std(tmp_path / "nothing", 5) is None
    action, state = np.zeros((4, 2), np.float32), np.zeros((4, 3), np.float32)
    write_rows(tmp_path, action=action, observation__state=state, episode_index=[0] * 4)
    assert displacement_std(tmp_path, 5) is None


def test_final_actions_are_each_episodes_last_whatever_the_order_of_rows(tmp_path):
    episode = np.repeat([0, 1, 2], [3, 1, 4])
    frame = np.concatenate([np.arange(n) for n in (3, 1, 4)])
    action = np.stack([episode * 10.0 + frame, -frame], axis=1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(episode))
    for number, part in enumerate(np.array_split(order, 2)):
        rows = {"action": action[part], "episode_index": episode[part], "frame_index": frame[part]}
        write_rows(tmp_path, number, **rows)
    assert final_actions(tmp_path).tolist() == [[2.0, -2.0], [10.0, 0.0], [23.0, -3.0]]
    assert final_actions(tmp_path / "nothing") is None
