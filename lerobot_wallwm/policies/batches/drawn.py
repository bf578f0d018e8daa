# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What LeRobot's loader really hands to training: whether pictures are the rows' own, and which events are drawn at all.

A policy is built from the metadata of a whole dataset. LeRobot does not tell it which episodes are trained
(`--dataset.episodes`), nor whether they are streamed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lerobot_wallwm.language.view_events import has_events, view_rows
from lerobot_wallwm.policies.batches.dataset_facts import episode_column, event_grammar

logger = logging.getLogger(__name__)

# Batches in which pictures are checked. Our choice: most windows reach past an episode's end, so the first one tells.
_CHECKED = 8
Grammar = tuple[dict[str, dict[str, int]], dict[str, int]]


class DrawnRows:
    """Watches the training batches of one dataset.

    Args:
        dataset_meta: LeRobot's metadata, or None.
        offsets: Frames of a window, counted from its row.
    """

    def __init__(self, dataset_meta: Any | None, offsets: list[int]):
        self.root = getattr(dataset_meta, "root", None)
        self.first, self.end = (
            episode_column(dataset_meta, name) for name in ("dataset_from_index", "dataset_to_index")
        )
        self.masks = [f"{key}_is_pad" for key in getattr(dataset_meta, "video_keys", ())]
        self.offsets = torch.tensor(offsets)
        self.rows: set[int] = set()
        self.episodes: set[int] = set()
        self.draws = self.batches = 0

    def watch(self, batch: dict[str, Any]) -> None:
        """Remembers the rows of a training batch.

        Raises:
            ValueError: Its pictures are not those of its rows.
        """
        if self.end is None or "index" not in batch or "episode_index" not in batch:
            return
        index, episode = (batch[name].flatten().long().cpu() for name in ("index", "episode_index"))
        if self.batches < _CHECKED:
            self._require_own_pictures(batch, index, episode)
        self.batches += 1
        self.draws += len(index)
        self.rows.update(index.tolist())
        self.episodes.update(episode.tolist())

    def grammar(self) -> Grammar | None:
        """The plan of the events that were drawn; None while others may still come, or if there are none.

        Once rows have come twice on average, training has been through all that it will see.
        """
        if self.root is None or self.end is None or self.draws < 2 * len(self.rows):
            return None
        if len(self.episodes) == len(self.end):
            return None
        rows = view_rows(Path(self.root))
        if not has_events(rows):
            return None
        kinds = {row["wallwm/template"] for row in rows}
        trained = {row["wallwm/template"] for row in rows if row["episode_index"] in self.episodes}
        if missing := sorted(kinds - trained):
            logger.warning("The plan leaves out what was not trained: %s.", ", ".join(missing))
        return event_grammar(rows, trained)

    def _require_own_pictures(self, batch: dict[str, Any], index: Tensor, episode: Tensor) -> None:
        """The mask of the pictures tells where LeRobot looked for them."""
        assert self.first is not None and self.end is not None
        mask = next((batch[key] for key in self.masks if key in batch), None)
        at = index[:, None] + self.offsets
        outside = (at < self.first[episode][:, None]) | (at >= self.end[episode][:, None])
        if mask is not None and mask.shape == outside.shape and not torch.equal(mask.cpu(), outside):
            raise ValueError(
                "The pictures of this batch are not those of its rows: with --dataset.streaming=true LeRobot takes a row's "
                "number for its place in the video file, which shows other events' pictures. Fix: train without "
                "--dataset.streaming=true"
            )
