# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the clusters of an event are made from: its keyframe, its caption and its trajectory, as vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.balance.encoders import EMBEDDED, EventEncoder, make_encoder
from lerobot_wallwm.processors.motion.action_features import ActionFeatures, trajectory
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.source.keyframes import read_frames
from lerobot_wallwm.storage.errors import DataError


class EventEmbedder:
    """Embeds events: keyframe, caption and trajectory.

    As a transform of rows made by `EventCarver` (one per event), `ds.map(embedder, batched=True, num_proc=4)` reads the
    dataset at `root` and adds the columns `image_embedding`, `text_embedding` and `action_feature`.

    Args:
        root: The dataset that the events are from.
        encoder: See `make_encoder`.
        kinematics: How state and action are read.
        device: Where a transformers encoder runs.
    """

    def __init__(
        self,
        root: str | Path,
        encoder: str = EMBEDDED,
        kinematics: KinematicsConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self.root, self.name, self.device = Path(root), encoder, device
        self.features = ActionFeatures(kinematics)
        self._source: SourceDataset | None = None
        self._encoder: EventEncoder | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Each process of `datasets.map(num_proc=...)` opens its own.
        return {**self.__dict__, "_source": None, "_encoder": None}

    @property
    def source(self) -> SourceDataset:
        """The dataset, opened on first use."""
        if self._source is None:
            self._source = SourceDataset.open(self.root)
        return self._source

    @property
    def encoder(self) -> EventEncoder:
        """The encoder, loaded on first use."""
        if self._encoder is None:
            self._encoder = make_encoder(self.name, self.device)
        return self._encoder

    def load(self) -> None:
        """Loads the encoder now, so that a wrong name is refused before any long work.

        Raises:
            ValueError: It cannot be loaded.
        """
        _ = self.encoder

    def __call__(self, batch: Mapping[str, list]) -> dict[str, Any]:
        """See the class."""
        spans = list(zip(batch["episode_index"], batch["start"], batch["end"], strict=True))
        image, text, action = self._embed(spans, batch["task"], None, self.source)
        columns = {"image_embedding": image, "text_embedding": text, "action_feature": action}
        return {**batch, **{name: list(values) for name, values in columns.items()}}

    def embed(
        self,
        events: Sequence[Event],
        progress: Callable[[int], object] | None = None,
        source: SourceDataset | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(N, D)`` embeddings of keyframes and of captions and ``(N, F)`` action features, float32.

        Args:
            events: Of one level, in any order.
            progress: Called with the number of events done since its last call.
            source: The dataset as it was segmented, e.g. cleaned and synchronised; None: as it lies at `root`.

        Raises:
            DataError: A keyframe does not decode, or an event lies outside the dataset.
        """
        spans = [(event.episode_index, event.start, event.end) for event in events]
        return self._embed(
            spans, [event.caption for event in events], progress, self.source if source is None else source
        )

    def _embed(
        self,
        spans: Sequence[tuple[int, int, int]],
        captions: Sequence[str],
        progress: Callable[[int], object] | None,
        source: SourceDataset,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Captions repeat: each is encoded once.
        distinct = sorted(set(captions))
        place = {caption: i for i, caption in enumerate(distinct)}
        text = self.encoder.texts(distinct)[[place[caption] for caption in captions]]
        position = {episode: i for i, episode in enumerate(source.episode_indices)}
        by_episode: dict[int, list[int]] = {}
        for i, (episode_index, _, _) in enumerate(spans):
            if episode_index not in position:
                raise DataError(
                    source.root,
                    f"episode_index {episode_index}",
                    "is not in this dataset",
                    "use the dataset that the events were found in",
                )
            by_episode.setdefault(episode_index, []).append(i)
        image, action = None, None
        # In the dataset's order, so that each parquet file is read once.
        for episode_index in sorted(by_episode, key=position.__getitem__):
            rows = by_episode[episode_index]
            episode = source.read(position[episode_index])
            path = trajectory(episode, self.features.config)
            features = [self.features(episode, path, *spans[i][1:]) for i in rows]
            pictures = read_frames(source, position[episode_index], [spans[i][1] for i in rows])
            embedded = self.encoder.images(pictures, len(rows))
            if image is None or action is None:
                image = np.zeros((len(spans), embedded.shape[1]), np.float32)
                action = np.zeros((len(spans), len(features[0])), np.float32)
            image[rows], action[rows] = embedded, features
            if progress is not None:
                progress(len(rows))
        if image is None or action is None:
            raise DataError(source.root, "events", "there is none to embed", "check the level")
        return image, text, action
