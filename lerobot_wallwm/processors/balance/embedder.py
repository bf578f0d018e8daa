# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the clusters of an event are made from: its keyframe, its caption and its trajectory, as vectors.

The paper (p. 17) clusters with a frozen multimodal encoder that it does not name. Ours: a small one that needs no
weights, and any dual encoder of transformers (CLIP, SigLIP and their kin). Shapes: N events, H and W pixels, D numbers.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lerobot_wallwm.processors.motion.action_features import ActionFeatures, trajectory
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.source.pictures import pictures
from lerobot_wallwm.storage.errors import DataError

EMBEDDED = "embedded"


class EventEncoder(Protocol):
    """What `EventClusterer` asks of an encoder. Both parts have unit rows, or rows of zeros where nothing is known."""

    def images(self, pictures: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """``(N, D)`` float32 of camera key to ``(N, H, W, 3)`` uint8."""

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """``(N, D)`` float32."""


def make_encoder(name: str, device: str = "cpu") -> EventEncoder:
    """The encoder that `--cluster.encoder` names: ``embedded``, or a folder or Hub id of a transformers model."""
    return EmbeddedEncoder() if name == EMBEDDED else TransformersEncoder(name, device)


def unit(values_ND: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    length = np.linalg.norm(values_ND, axis=1, keepdims=True)
    return (values_ND / np.where(length > 0, length, 1.0)).astype(np.float32)


class EmbeddedEncoder:
    """Needs no weights: a thumbnail of colours and gradients, and hashed words.

    The picture is told by the mean colours of 8 x 8 patches and by histograms of its gradients' directions in 4 x 4 cells;
    the caption by its words and pairs of words, hashed. Each part goes through a fixed random projection. Every camera has
    a projection of its own, so that their sum keeps them apart and does not depend on their order. Our choice throughout:
    enough to tell scenes, colours and verbs; it knows nothing of synonyms or of objects. Each part has `width` numbers.
    """

    THUMBNAIL, CELLS, DIRECTIONS, WORDS = 8, 4, 8, 4096

    def __init__(self, width: int = 64) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self.width = width
        # Pairs of words, or "the red cube onto the blue disc" and its mirror image would be one.
        self._words = HashingVectorizer(n_features=self.WORDS, ngram_range=(1, 2), token_pattern=r"\w+")
        self._projections: dict[str, np.ndarray] = {}

    def images(self, pictures: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """See `EventEncoder`."""
        total = np.zeros((count, self.width))
        for key, pixels in pictures.items():
            features = np.stack([self._thumbnail(picture) for picture in pixels])
            total += features @ self._projection(key, features.shape[1])
        return unit(total)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """See `EventEncoder`."""
        words = self._words.transform(list(captions))
        return unit(words @ self._projection("caption", self.WORDS))

    def _projection(self, key: str, height: int) -> np.ndarray:
        name = f"{key}:{height}"
        if name not in self._projections:
            # RandomState's stream is frozen by NumPy's policy (NEP 19), that of a Generator is not.
            state = np.random.RandomState(zlib.crc32(name.encode()))
            self._projections[name] = state.standard_normal((height, self.width)) / np.sqrt(self.width)
        return self._projections[name]

    def _thumbnail(self, picture_HWC: np.ndarray) -> np.ndarray:
        import cv2

        small = (4 * self.THUMBNAIL,) * 2
        resized = cv2.resize(picture_HWC, small, interpolation=cv2.INTER_AREA)
        square = resized.astype(np.float64) / 255
        patch = small[0] // self.THUMBNAIL
        colours = square.reshape(self.THUMBNAIL, patch, self.THUMBNAIL, patch, 3).mean(axis=(1, 3))
        down, right = np.gradient(square.mean(axis=2))
        strength = np.hypot(down, right)
        direction = np.floor((np.arctan2(down, right) / np.pi % 1) * self.DIRECTIONS).astype(int)
        direction %= self.DIRECTIONS
        cell = np.arange(small[0]) * self.CELLS // small[0]
        place = (cell[:, None] * self.CELLS + cell[None]) * self.DIRECTIONS + direction
        edges = np.bincount(place.ravel(), strength.ravel(), minlength=self.CELLS**2 * self.DIRECTIONS)
        # A grey picture without edges says nothing; both parts count alike.
        return np.concatenate([colours.ravel() - 0.5, np.sqrt(edges) / 4])


class TransformersEncoder:
    """A dual encoder of transformers with `get_image_features` and `get_text_features`, such as CLIP or SigLIP.

    `name` is a local folder or a name on the Hub; `batch_size` counts pictures or captions.

    Raises:
        ValueError: It cannot be loaded, or does not encode both pictures and text.
    """

    def __init__(self, name: str, device: str = "cpu", batch_size: int = 64) -> None:
        from transformers import AutoModel, AutoProcessor

        try:
            model = AutoModel.from_pretrained(name)
            self.processor = AutoProcessor.from_pretrained(name)
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise ValueError(
                f"--cluster.encoder={name} cannot be loaded ({first}). Fix: give the folder or Hub id of a CLIP or SigLIP "
                f"model, or `{EMBEDDED}`"
            ) from error
        if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
            raise ValueError(
                f"--cluster.encoder={name} is a {type(model).__name__}, which does not encode both pictures and text. "
                f"Fix: give a CLIP or SigLIP model, or `{EMBEDDED}`"
            )
        self.name, self.device, self.batch_size = name, device, batch_size
        self.model = model.eval().requires_grad_(False).to(device)
        text = model.config.get_text_config()
        self._longest = int(text.max_position_embeddings)
        self._width = int(self.texts(["a"]).shape[1])

    def images(self, pictures: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """See `EventEncoder`; the mean over the cameras."""
        total = np.zeros((count, self._width))
        for pixels in pictures.values():
            parts = [pixels[i : i + self.batch_size] for i in range(0, count, self.batch_size)]
            total += np.concatenate([self._encode("image", images=list(part)) for part in parts])
        return unit(total)

    def texts(self, captions: Sequence[str]) -> np.ndarray:
        """See `EventEncoder`. Longer captions than the model reads are cut."""
        parts = [list(captions[i : i + self.batch_size]) for i in range(0, len(captions), self.batch_size)]
        # Padded to the full length, as SigLIP was trained; CLIP masks it.
        how = {"padding": "max_length", "truncation": True, "max_length": self._longest}
        return np.concatenate([self._encode("text", text=part, **how) for part in parts])

    def _encode(self, kind: str, **inputs: Any) -> np.ndarray:
        import torch

        with torch.inference_mode():
            batch = self.processor(return_tensors="pt", **inputs).to(self.device)
            features = getattr(self.model, f"get_{kind}_features")(**batch)
            # A tensor in some models and versions, an output object in others.
            features = getattr(features, "pooler_output", features)
        return unit(features.float().cpu().numpy())


class EventEmbedder:
    """Embeds events: keyframe, caption and trajectory.

    The encoder (`make_encoder`) is loaded at once, so that a wrong name is refused with a `ValueError` before any long work.
    """

    def __init__(self, encoder: str = EMBEDDED, device: str = "cpu") -> None:
        self.encoder, self.features = make_encoder(encoder, device), ActionFeatures()

    def embed(
        self, source: SourceDataset, events: Sequence[Event], progress: Callable[[int], object] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(N, D)`` embeddings of keyframes and of captions and ``(N, F)`` action features, float32.

        `source` is the dataset as it was segmented; `progress` is called with the events done since its last call.

        Raises:
            DataError: There is no event, a keyframe does not decode, or an event lies outside the dataset.
        """
        if not events:
            raise DataError(source.root, "events", "there is none to embed", "check the level")
        # Captions repeat: each is encoded once.
        captions, which = np.unique([event.caption for event in events], return_inverse=True)
        text = self.encoder.texts(captions.tolist())[which]
        position = {episode: i for i, episode in enumerate(source.episode_indices)}
        by_episode: dict[int, list[int]] = defaultdict(list)
        for i, event in enumerate(events):
            by_episode[event.episode_index].append(i)
        if unknown := set(by_episode) - set(position):
            fix = "use the dataset that the events were found in"
            raise DataError(source.root, f"episode_index {min(unknown)}", "is not in this dataset", fix)
        image: list[Any] = [None] * len(events)
        action: list[Any] = [None] * len(events)
        # In the dataset's order, so that each parquet file is read once.
        for index in sorted(by_episode, key=position.__getitem__):
            own = [events[i] for i in by_episode[index]]
            episode = source.read(position[index])
            path = trajectory(episode)
            meta, starts = source.meta(position[index]), [event.start for event in own]
            cameras = source.cameras(meta)
            keyframes = {key: np.stack(list(pictures(source, meta, key, starts))) for key in cameras}
            embedded = self.encoder.images(keyframes, len(own))
            for i, event, vector in zip(by_episode[index], own, embedded, strict=True):
                image[i], action[i] = vector, self.features(episode, path, event.start, event.end)
            if progress is not None:
                progress(len(own))
        return np.stack(image), text, np.stack(action)
