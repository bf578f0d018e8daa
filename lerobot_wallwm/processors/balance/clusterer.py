# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two clusterings of events: by what is seen and said, and by how the arm moves (paper p. 17).

The paper gives neither encoder, algorithm nor number of clusters. Ours: `embedder.py`, and scikit-learn's MiniBatchKMeans. Shapes: N events, K clusters, D numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lerobot_wallwm.processors.balance.embedder import EMBEDDED
from lerobot_wallwm.processors.motion.action_features import scale_of


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
        if self.vl_clusters < 0 or self.action_clusters < 0:
            raise ValueError(
                f"--cluster.vl_clusters={self.vl_clusters} and --cluster.action_clusters={self.action_clusters} must be at "
                "least 0. Fix: 0 chooses by the number of events"
            )
        if not 0 <= self.text_weight <= 1:
            raise ValueError(
                f"--cluster.text_weight={self.text_weight} must be between 0 and 1. Fix: 0.5 counts both alike"
            )


def cluster_events(
    image_ND: np.ndarray,
    text_ND: np.ndarray,
    action_NF: np.ndarray,
    learn_N: np.ndarray | None = None,
    config: ClusterConfig | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Puts events into vision-language clusters and action clusters.

    Args:
        image_ND: Of an `EventEncoder`.
        text_ND: Of the same encoder; its width may differ.
        action_NF: Of `ActionFeatures`.
        learn_N: Bool, events in which the centres are found; the others go to the nearest ones. None: all.
        config: Numbers of clusters, weight of the caption, seed.

    Returns:
        ``(N,)`` vision-language clusters and ``(N,)`` action clusters, int64.

    Raises:
        ValueError: No events, different numbers of rows, or a value that is not finite.
    """
    parts, config = (image_ND, text_ND, action_NF), config or ClusterConfig()
    if {len(part) for part in parts} != {len(action_NF)} or not len(action_NF):
        raise ValueError(
            f"embeddings must be matrices with a row for each of at least one event, got {[p.shape for p in parts]}"
        )
    # A sum is not finite if a value is not, and needs no mask of the matrix's size.
    if not all(np.isfinite(part.sum(dtype=np.float64)) for part in parts):
        raise ValueError("embeddings hold NaN or infinite values. Fix: clean the episodes they come from")
    learn = np.ones(len(action_NF), bool) if learn_N is None else learn_N
    # Picture and caption side by side, each centred and of variance 1 times its weight: else the part whose encoder
    # spreads wider decides alone. CLIP's pictures all lie in a narrow cone.
    seen = []
    for values, share in ((image_ND, 1 - config.text_weight), (text_ND, config.text_weight)):
        known = values[learn]
        spread = float(np.sqrt(known.var(axis=0, dtype=np.float64).sum()))
        part = values.astype(np.float32) - known.mean(axis=0, dtype=np.float64).astype(np.float32)
        part *= np.float32(np.sqrt(share)) / np.float32(spread if spread > 1e-6 else 1.0)
        seen.append(part)
    labels = []
    for points, asked in (
        (np.concatenate(seen, axis=1), config.vl_clusters),
        (action_NF.astype(np.float32) / scale_of(action_NF[learn]), config.action_clusters),
    ):
        centres = kmeans(points[learn], asked or default_clusters(int(learn.sum())), config.seed)
        labels.append(nearest(points, centres))
    return labels[0], labels[1]


def default_clusters(count: int) -> int:
    """The root of twice the number of events, between 1 and 1000.

    Our choice: on 307 training events of 8 verbs and 4 colours, 12 clusters follow the verbs alone, 24 the colours too.
    """
    return int(np.clip(round(np.sqrt(2 * count)), 1, 1000))


def kmeans(points_ND: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    """Centres ``(K, D)`` float32; fewer than asked where there are fewer points. Same input, same centres.

    Args:
        points_ND: Float32.
        clusters: K.
        seed: Of the first centres and of the batches.
    """
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
