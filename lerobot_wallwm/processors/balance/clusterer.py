# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two clusterings of events: by what is seen and said, and by how the arm moves (paper p. 17).

The paper gives neither encoder, algorithm nor number of clusters. Ours: `event_encoders.py` and `action_features.py`, and
scikit-learn's MiniBatchKMeans; faiss instead for more than a million events, where it is installed. Shapes: N events, K
clusters, D numbers.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.processors.balance.encoders import EMBEDDED
from lerobot_wallwm.processors.motion.action_features import COEFFICIENTS, scale_of
from lerobot_wallwm.storage.errors import DataError

FORMAT_VERSION = 1
# Points a cluster among which faiss' first centres are chosen. Our choice.
_FIRST = 40
# Up to here scikit-learn takes minutes; beyond, faiss is worth its installation.
FAISS_FROM = 1_000_000
_CHUNK = 65536


@dataclass
class ClusterConfig:
    """How events are clustered."""

    # Of keyframe and caption: `embedded`, or a folder or Hub id of a CLIP or SigLIP model of transformers.
    encoder: str = EMBEDDED
    # Where a transformers encoder runs.
    device: str = "cpu"
    # Number of vision-language clusters. 0: the root of twice the number of events, at most 1000 (our choice).
    vl_clusters: int = 0
    # Number of action clusters. 0: as above.
    action_clusters: int = 0
    # How much the caption counts beside the keyframe, 0 to 1. Our choice: as much as the keyframe.
    text_weight: float = 0.5
    # Of the first centres.
    seed: int = 0
    # `sklearn`, `faiss`, or `auto`: faiss where it is installed and there are more than a million events.
    backend: str = "auto"

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        if self.vl_clusters < 0 or self.action_clusters < 0:
            raise ValueError(
                f"--cluster.vl_clusters={self.vl_clusters} and --cluster.action_clusters={self.action_clusters} must be at "
                "least 0. Fix: 0 chooses by the number of events"
            )
        if not 0 <= self.text_weight <= 1:
            raise ValueError(
                f"--cluster.text_weight={self.text_weight} must be between 0 and 1. Fix: 0.5 counts both alike"
            )
        if self.backend not in ("auto", "sklearn", "faiss"):
            raise ValueError(f"--cluster.backend={self.backend} is unknown. Fix: auto, sklearn or faiss")
        if self.backend == "faiss" and importlib.util.find_spec("faiss") is None:
            raise ValueError(
                "--cluster.backend=faiss needs faiss. Fix: pip install 'lerobot_policy_wallwm[faiss]', or leave the flag out"
            )


class EventClusterer:
    """Puts events into vision-language clusters and action clusters.

    `fit(image, text, action)` finds the centres, `predict` the nearest ones. As a transform of one row per event,
    `ds.map(clusterer, batched=True)` reads the columns `image_embedding`, `text_embedding` and `action_feature` and adds
    `vl_cluster` and `action_cluster`.

    Args:
        config: Numbers of clusters, weight of the caption, seed.
    """

    def __init__(self, config: ClusterConfig | None = None) -> None:
        self.config = config or ClusterConfig()
        self.state: dict[str, np.ndarray] = {}

    def __call__(self, batch: Mapping[str, list]) -> dict[str, Any]:
        """See the class."""
        columns = (
            np.asarray(batch[name], np.float32)
            for name in ("image_embedding", "text_embedding", "action_feature")
        )
        vl, action = self.predict(*columns)
        return {**batch, "vl_cluster": vl.tolist(), "action_cluster": action.tolist()}

    def fit(self, image_ND: np.ndarray, text_ND: np.ndarray, action_NF: np.ndarray) -> EventClusterer:
        """Finds the centres of both clusterings.

        Args:
            image_ND: Of an `EventEncoder`.
            text_ND: Of the same encoder; its width may differ.
            action_NF: Of `ActionFeatures`.

        Raises:
            ValueError: No events, different numbers of rows, or a value that is not finite.
        """
        _check(image_ND, text_ND, action_NF)
        state = {
            "image_mean": image_ND.mean(axis=0, dtype=np.float64).astype(np.float32),
            "text_mean": text_ND.mean(axis=0, dtype=np.float64).astype(np.float32),
            "image_scale": np.array([_spread(image_ND)], np.float32),
            "text_scale": np.array([_spread(text_ND)], np.float32),
            "action_scale": scale_of(action_NF, _coefficients(action_NF.shape[1])),
        }
        self.state = state
        count = len(action_NF)
        for name, points, asked in (
            ("vl", self._vl(image_ND, text_ND), self.config.vl_clusters),
            ("action", self._action(action_NF), self.config.action_clusters),
        ):
            state[f"{name}_centres"] = kmeans(
                points, asked or default_clusters(count), self.config.seed, self.config.backend
            )
        return self

    def predict(
        self, image_ND: np.ndarray, text_ND: np.ndarray, action_NF: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``(N,)`` vision-language clusters and ``(N,)`` action clusters, int64.

        Raises:
            ValueError: `fit` was not called, or the rows do not fit what it saw.
        """
        if "vl_centres" not in self.state:
            raise ValueError("EventClusterer has no centres yet. Fix: call fit() first, or load() them")
        _check(image_ND, text_ND, action_NF)
        return (
            nearest(self._vl(image_ND, text_ND), self.state["vl_centres"]),
            nearest(self._action(action_NF), self.state["action_centres"]),
        )

    def _vl(self, image_ND: np.ndarray, text_ND: np.ndarray) -> np.ndarray:
        """Both parts side by side, each centred and of variance 1 times its weight.

        Without that the part whose encoder spreads wider decides alone: CLIP's pictures all lie in a narrow cone.
        """
        s, weight = self.state, self.config.text_weight
        parts = []
        for name, values, share in (("image", image_ND, 1 - weight), ("text", text_ND, weight)):
            part = values.astype(np.float32) - s[f"{name}_mean"]
            part *= np.float32(np.sqrt(share)) / s[f"{name}_scale"]
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def _action(self, action_NF: np.ndarray) -> np.ndarray:
        return action_NF.astype(np.float32) / self.state["action_scale"]

    def save(self, path: str | Path) -> None:
        """Writes the centres as safetensors; the file appears whole or not at all."""
        from safetensors.numpy import save_file

        path = Path(path)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        facts = {"format_version": FORMAT_VERSION, "encoder": self.config.encoder}
        facts |= {"text_weight": self.config.text_weight}
        try:
            save_file(self.state, partial, metadata={"wallwm_clusters": json.dumps(facts)})
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> EventClusterer:
        """Reads centres that `save` wrote, to put new events into the same clusters.

        Raises:
            DataError: The file is missing, damaged, or something else.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        try:
            with safe_open(path, framework="numpy") as file:
                facts = json.loads((file.metadata() or {})["wallwm_clusters"])
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise DataError(
                path,
                "clusters",
                f"cannot be read ({error})",
                "write it again with `wallwm prepare --balance=true`",
            ) from error
        clusterer = cls(ClusterConfig(encoder=facts["encoder"], text_weight=facts["text_weight"]))
        clusterer.state = state
        return clusterer


def default_clusters(count: int) -> int:
    """The root of twice the number of events, between 1 and 1000.

    Our choice: on 307 training events of 8 verbs and 4 colours, 12 clusters follow the verbs alone, 24 the colours too.
    """
    return int(np.clip(round(np.sqrt(2 * count)), 1, 1000))


def kmeans(points_ND: np.ndarray, clusters: int, seed: int = 0, backend: str = "auto") -> np.ndarray:
    """Centres ``(K, D)`` float32; fewer than asked where there are fewer points. Same input, same centres.

    Args:
        points_ND: Float32.
        clusters: K.
        seed: Of the first centres and of the batches.
        backend: See `ClusterConfig`.
    """
    from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus

    count = len(points_ND)
    clusters = min(clusters, count)
    if backend == "faiss" or (
        backend == "auto" and count > FAISS_FROM and importlib.util.find_spec("faiss") is not None
    ):
        import faiss

        # faiss starts from points drawn evenly, which puts two centres into one cluster and none into another.
        drawn = np.random.default_rng(seed).permutation(count)[: _FIRST * clusters]
        first, _ = kmeans_plusplus(points_ND[np.sort(drawn)], clusters, random_state=seed)
        model = faiss.Kmeans(points_ND.shape[1], clusters, niter=20, seed=seed, min_points_per_centroid=1)
        model.train(np.ascontiguousarray(points_ND), init_centroids=np.ascontiguousarray(first))
        return model.centroids.astype(np.float32)
    # Our choice: batches of 10 points a cluster; at least 100 of them and 2 passes.
    batch = int(np.clip(10 * clusters, 1024, 16384))
    passes = max(2, -(-100 * batch // count))
    model = MiniBatchKMeans(
        clusters,
        batch_size=batch,
        max_iter=min(passes, 100),
        n_init=3,
        random_state=seed,
        # No early stop: it reads sums whose last digit depends on the number of threads.
        tol=0.0,
        max_no_improvement=None,
        compute_labels=False,
    )
    return model.fit(points_ND).cluster_centers_.astype(np.float32)


def nearest(points_ND: np.ndarray, centres_KD: np.ndarray) -> np.ndarray:
    """``(N,)`` int64: each point's nearest centre, the first of equals; in chunks, so that memory stays small."""
    size = (centres_KD**2).sum(axis=1) / 2
    labels = np.empty(len(points_ND), dtype=np.int64)
    chunk = max(1, min(_CHUNK, (1 << 26) // max(1, len(centres_KD))))
    for start in range(0, len(points_ND), chunk):
        part = points_ND[start : start + chunk]
        labels[start : start + chunk] = np.argmax(part @ centres_KD.T - size, axis=1)
    return labels


def _spread(values_ND: np.ndarray) -> float:
    """Root of the total variance; 1 where nothing varies."""
    total = float(np.sqrt(values_ND.var(axis=0, dtype=np.float64).sum()))
    return total if total > 1e-6 else 1.0


def _coefficients(width: int) -> int:
    return COEFFICIENTS if (width - 1) % COEFFICIENTS == 0 and width > 1 else max(1, width - 1)


def _check(*parts: np.ndarray) -> None:
    counts = {len(part) for part in parts}
    if counts == {0} or len(counts) != 1 or any(part.ndim != 2 for part in parts):
        raise ValueError(
            f"embeddings must be matrices with a row for each of at least one event, got {[p.shape for p in parts]}"
        )
    for part in parts:
        # A sum is not finite if a value is not, and needs no mask of the matrix's size.
        if not np.isfinite(part.sum(dtype=np.float64)):
            raise ValueError("embeddings hold NaN or infinite values. Fix: clean the episodes they come from")
