# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A small LeRobot view held in memory, so that forty short trainings decode its video once.

Batches equal those of LeRobot's dataset and default collate: windows are clamped to their episode and flagged as
padding beyond it (checked by tests/benchmarks/test_ablation.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm


class WindowsInMemory:
    """Training windows of a view.

    Args:
        root: The view's folder.
        cache: Folder for its decoded frames, memory-mapped and shared by all runs.
        observation_deltas: Rows of pictures and states, relative to the anchor.
        action_deltas: Rows of actions.
        state_deltas: Rows of states; those of the pictures by default, as lerobot-train reads them.
    """

    def __init__(
        self,
        root: Path,
        cache: Path,
        observation_deltas: list[int],
        action_deltas: list[int],
        state_deltas: list[int] | None = None,
    ):
        from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata

        self.meta = LeRobotDatasetMetadata(f"local/{root.name}", root=root)
        self.deltas, self.action_deltas = torch.tensor(observation_deltas), torch.tensor(action_deltas)
        self.state_deltas = self.deltas if state_deltas is None else torch.tensor(state_deltas)
        episodes = self.meta.episodes
        self.first = torch.as_tensor(episodes["dataset_from_index"])
        self.last = torch.as_tensor(episodes["dataset_to_index"]) - 1
        dataset = LeRobotDataset(f"local/{root.name}", root=root, return_uint8=True)
        table = dataset.hf_dataset.with_format("numpy")
        self.state = torch.from_numpy(np.stack(table["observation.state"])).float()
        self.action = torch.from_numpy(np.stack(table["action"])).float()
        self.episode = torch.as_tensor(np.asarray(table["episode_index"]))
        self.tasks = [self.meta.tasks.iloc[int(i)].name for i in table["task_index"]]
        keys = self.meta.camera_keys
        self.frames = {key: _decoded(dataset, key, cache / f"{root.name}-{key}.npy") for key in keys}

    def __len__(self) -> int:
        return len(self.state)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One window, as LeRobot's dataset gives it."""
        return {key: values[0] for key, values in self.batch(torch.tensor([row])).items()}

    def batch(self, rows: torch.Tensor) -> dict[str, Any]:
        """The windows anchored at ``rows`` as LeRobot would collate them, pictures in [0, 1]."""
        episode = self.episode[rows]
        first, last = self.first[episode][:, None], self.last[episode][:, None]
        seen, acted = rows[:, None] + self.deltas, rows[:, None] + self.action_deltas
        felt = rows[:, None] + self.state_deltas
        inside = {"seen": seen.clamp(first, last), "acted": acted.clamp(first, last)}
        batch: dict[str, Any] = {
            "observation.state": self.state[felt.clamp(first, last)],
            "observation.state_is_pad": felt.clamp(first, last) != felt,
            "action": self.action[inside["acted"]],
            "action_is_pad": inside["acted"] != acted,
            "task": [self.tasks[row] for row in rows.tolist()],
            "index": rows.clone(),
            "episode_index": episode,
        }
        for key, frames in self.frames.items():
            batch[key] = torch.from_numpy(frames[inside["seen"].numpy()]).float() / 255
            batch[f"{key}_is_pad"] = inside["seen"] != seen
        return batch


def _decoded(dataset: Any, key: str, path: Path) -> np.ndarray:
    """Every row's picture of a camera ``(rows, 3, H, W)`` uint8, decoded once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.stack([dataset[row][key].numpy() for row in tqdm(range(len(dataset)), desc=path.name)])
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}.npy")
        np.save(partial, frames)
        os.replace(partial, path)
    return np.load(path, mmap_mode="r")
