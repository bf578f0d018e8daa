# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two clusterings of events: by what is seen and said, and by how the arm moves (paper p. 17).

The paper gives neither encoder, algorithm nor number of clusters. Ours: `embedder.py`, and scikit-learn's
MiniBatchKMeans. Shapes: N events, K clusters, D numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lerobot_wallwm.embodiment.description import Dimension
from lerobot_wallwm.processors.balance.embedder import EMBEDDED
from lerobot_wallwm.processors.motion.action_features import scale_of
from lerobot_wallwm.storage.errors import check_fields


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

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        check_fields(
            self, "cluster", "at least 0", lambda value: value >= 0, "vl_clusters", "action_clusters"
        )
        check_fields(self, "cluster", "in [0, 1]", lambda value: 0 <= value <= 1, "text_weight")


class EventClusterer:
    """Puts events into vision-language clusters and action clusters.

    `fit(image, text, action)` finds the centres, `predict` the nearest ones. As a transform of one row per event,
    `ds.map(clusterer, batched=True)` reads the columns `image_embedding`, `text_embedding` and `action_feature` and adds
    `vl_cluster` and `action_cluster`.
    """

    def __init__(self, config: ClusterConfig | None = None, dims: Sequence[Dimension] = ()) -> None:
        self.config, self.dims = config or ClusterConfig(), dims
        self._centres: list[np.ndarray] = []

    def __call__(self, batch: Mapping[str, list]) -> dict[str, Any]:
        """See the class."""
        names = ("image_embedding", "text_embedding", "action_feature")
        vl, action = self.predict(*(np.asarray(batch[name], np.float32) for name in names))
        return {**batch, "vl_cluster": vl.tolist(), "action_cluster": action.tolist()}

    def fit(self, image_ND: np.ndarray, text_ND: np.ndarray, action_NF: np.ndarray) -> EventClusterer:
        """Finds the centres of both clusterings, from an `EventEncoder`'s pictures and captions and `ActionFeatures`.

        Raises:
            ValueError: No events, different numbers of rows, or a value that is not finite.
        """
        _check(image_ND, text_ND, action_NF)
        # Picture and caption, each centred and of variance 1 times its weight: else the part whose encoder spreads
        # wider decides alone. CLIP's pictures all lie in a narrow cone.
        self._seen = []
        for values, share in ((image_ND, 1 - self.config.text_weight), (text_ND, self.config.text_weight)):
            spread = float(np.sqrt(values.var(axis=0, dtype=np.float64).sum()))
            scale = np.float32(np.sqrt(share)) / np.float32(spread if spread > 1e-6 else 1.0)
            self._seen.append((values.mean(axis=0, dtype=np.float64).astype(np.float32), scale))
        self._action_scale = scale_of(action_NF, self.dims)
        asked = (self.config.vl_clusters, self.config.action_clusters)
        self._centres = [
            kmeans(points, clusters or default_clusters(len(points)), self.config.seed)
            for points, clusters in zip(self._points(image_ND, text_ND, action_NF), asked, strict=True)
        ]
        return self

    def predict(self, image_ND: np.ndarray, text_ND: np.ndarray, action_NF: np.ndarray) -> list[np.ndarray]:
        """``(N,)`` vision-language clusters and ``(N,)`` action clusters, int64.

        Raises:
            ValueError: `fit` was not called, or as there.
        """
        if not self._centres:
            raise ValueError("EventClusterer has no centres yet. Fix: call fit() first")
        _check(image_ND, text_ND, action_NF)
        return list(map(nearest, self._points(image_ND, text_ND, action_NF), self._centres))

    def _points(self, image_ND: np.ndarray, text_ND: np.ndarray, action_NF: np.ndarray) -> list[np.ndarray]:
        seen = []
        for values, (mean, scale) in zip((image_ND, text_ND), self._seen, strict=True):
            part = values.astype(np.float32) - mean
            part *= scale
            seen.append(part)
        return [np.concatenate(seen, axis=1), action_NF.astype(np.float32) / self._action_scale]


def _check(*parts: np.ndarray) -> None:
    if len({len(part) for part in parts}) != 1 or not len(parts[0]) or any(part.ndim != 2 for part in parts):
        raise ValueError(
            f"embeddings must be matrices with a row for each of at least one event, got {[p.shape for p in parts]}"
        )
    # A sum is not finite if a value is not, and needs no mask of the matrix's size.
    if not all(np.isfinite(part.sum(dtype=np.float64)) for part in parts):
        raise ValueError("embeddings hold NaN or infinite values. Fix: clean the episodes they come from")


def default_clusters(count: int) -> int:
    """The root of twice the number of events, between 1 and 1000.

    Our choice: on 307 training events of 8 verbs and 4 colours, 12 clusters follow the verbs alone, 24 the colours too.
    """
    return int(np.clip(round(np.sqrt(2 * count)), 1, 1000))


def kmeans(points_ND: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    """Centres ``(K, D)`` float32; fewer than asked where there are fewer points. Same input, same centres."""
    from sklearn.cluster import MiniBatchKMeans

    count = len(points_ND)
    clusters = min(clusters, count)
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
    """``(N,)`` int64: each point's nearest centre; in chunks, so that memory stays small."""
    from sklearn.metrics import pairwise_distances_argmin

    return pairwise_distances_argmin(points_ND, centres_KD).astype(np.int64)
