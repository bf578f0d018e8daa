# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two clusterings of events: by what is seen and said, and by how the arm moves (paper p. 17).

The paper gives neither encoder, algorithm nor number of clusters. Ours: `embedder.py`, and scikit-learn's MiniBatchKMeans. Shapes: N events, K clusters, D numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lerobot_wallwm.processors.balance.embedder import EMBEDDED
from lerobot_wallwm.processors.motion.action_features import COEFFICIENTS, scale_of
from lerobot_wallwm.storage.errors import DataError

FORMAT_VERSION = 1


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


class EventClusterer:
    """Puts events into vision-language clusters and action clusters.

    `fit(image, text, action)` finds the centres, `predict` the nearest ones.

    Args:
        config: Numbers of clusters, weight of the caption, seed.
    """

    def __init__(self, config: ClusterConfig | None = None) -> None:
        self.config = config or ClusterConfig()
        self.state: dict[str, np.ndarray] = {}

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
            state[f"{name}_centres"] = kmeans(points, asked or default_clusters(count), self.config.seed)
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
        """Writes the centres as safetensors."""
        from safetensors.numpy import save_file

        facts = {
            "format_version": FORMAT_VERSION,
            "encoder": self.config.encoder,
            "text_weight": self.config.text_weight,
        }
        save_file(self.state, path, metadata={"wallwm_clusters": json.dumps(facts)})

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
