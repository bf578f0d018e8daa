# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Weights under which rare clusters are drawn as often as common ones, in several clusterings at once.

The paper (p. 18) draws batches that balance vision-language and action clusters and does not say how. Our choice is
raking (iterative proportional fitting, Deming and Stephan 1940): an event's weight is a product of one factor a
clustering, and the factors are fitted in turn until each clustering's draws meet their target.

Two clusterings can ask for what no weights give: a rare cluster whose events all belong to one common cluster of the
other. So each factor is raised to the power `_GIVE`, the scaling of unbalanced optimal transport (Chizat et al. 2018),
which trades some exactness for moderate weights. And isotonic regression keeps each clustering's factors in the order of
rarity: of two events that differ in one cluster only, the one in the rarer cluster never has the smaller weight.

Everything is computed on the distinct combinations of clusters, so that ten million events cost little more than one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression
from scipy.stats import entropy

from lerobot_wallwm.storage.errors import check_fields

# Our choice: on the SO-101 demonstrations (20 and 20 clusters, 83 of 400 combinations occur) 0.85 lifts the normalised
# entropies from 0.95 to 0.97 with weights of at most 14, where exact raking ends at 0.90 and 0.94 with weights of 50.
_GIVE = 0.85
# Our choice: after so many rounds of raking the weights no longer change.
_ROUNDS = 30


@dataclass
class BalancerConfig:
    """How strongly to balance."""

    # A cluster's share of the draws is its own share to the power 1/temperature: 1 changes nothing, large values draw all
    # clusters alike. The paper gives none; ours is 20.
    temperature: float = 20.0
    # Greatest weight, in mean weights: how often a rare event may be repeated while an average one is seen once. Our
    # choice: 50.
    cap: float = 50.0
    # Rows of the balanced view, in rows of the plain one. More rows, finer balance; epochs get longer, videos do not.
    growth: float = 6.0
    # Copies that every event keeps at least. 0 lets common events drop out of the view.
    min_copies: int = 1

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        check_fields(self, "balancer", "at least 1", lambda value: value >= 1, "temperature")
        check_fields(self, "balancer", "at least 1 and finite", lambda value: 1 <= value < np.inf, "cap")
        check_fields(self, "balancer", "at least 0", lambda value: value >= 0, "min_copies")
        check_fields(self, "balancer", "above 0 and finite", lambda value: 0 < value < np.inf, "growth")
        least = f"at least --balancer.min_copies={self.min_copies}"
        check_fields(self, "balancer", least, lambda value: value >= self.min_copies, "growth")


def gini(shares: np.ndarray) -> float:
    """Gini coefficient of non-negative shares: 0 if all are alike, near 1 if one has everything."""
    ordered = np.sort(np.asarray(shares, dtype=np.float64))
    count, total = len(ordered), ordered.sum()
    return float((2 * np.arange(1, count + 1) - count - 1) @ ordered / (count * total)) if total else 0.0


def normalised_entropy(shares: np.ndarray) -> float:
    """Entropy of shares over that of as many equal ones; 1 for a single cluster."""
    return float(entropy(shares) / np.log(len(shares))) if len(shares) > 1 else 1.0


def balance_figures(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """How even the draws of each event, ``(N,)`` before and after, are over the clusters `labels` ``(N,)``.

    The gain is how much more often the rarest tenth of the clusters is drawn; the even gain is that of even draws.
    """
    _, cluster = np.unique(labels, return_inverse=True)
    old, new = (np.bincount(cluster, np.asarray(w, dtype=np.float64)) for w in (before, after))
    old, new = old / old.sum(), new / new.sum()
    rarest = np.argsort(old, kind="stable")[: max(1, len(old) // 10)]
    return {
        "clusters": len(old),
        "gini_before": gini(old),
        "gini_after": gini(new),
        "entropy_before": normalised_entropy(old),
        "entropy_after": normalised_entropy(new),
        "rarest_decile_gain": float(new[rarest].sum() / old[rarest].sum()),
        "rarest_decile_even_gain": float(len(rarest) / len(old) / old[rarest].sum()),
    }


class ClusterBalancer:
    """`balanced_weights` as a transform of one row per event, in a Hugging Face dataset.

    `ds.map(ClusterBalancer().fit(ds), batched=True)` reads the clusterings' `columns` and adds `weight`.
    """

    def __init__(
        self, config: BalancerConfig | None = None, columns: Sequence[str] = ("vl_cluster", "action_cluster")
    ) -> None:
        self.config, self.columns = config or BalancerConfig(), tuple(columns)
        self._weight: dict[tuple[int, ...], float] = {}

    def fit(self, rows: Mapping[str, Sequence[int]], sizes: Any | None = None) -> ClusterBalancer:
        """Fits the weights to all rows; see `balanced_weights`."""
        labels = [np.asarray(rows[name]) for name in self.columns]
        weights = balanced_weights(labels, sizes, self.config)
        cells = zip(*(label.tolist() for label in labels), strict=True)
        self._weight = dict(zip(cells, weights.tolist(), strict=True))
        return self

    def __call__(self, batch: Mapping[str, list]) -> dict[str, Any]:
        """See the class. Raises `ValueError` for a combination of clusters that was not among the fitted rows."""
        cells = list(zip(*(batch[name] for name in self.columns), strict=True))
        if unknown := set(cells) - set(self._weight):
            raise ValueError(
                f"clusters {min(unknown)} were not fitted. Fix: fit on all events that are to be drawn"
            )
        return {**batch, "weight": [self._weight[cell] for cell in cells]}


def balanced_weights(
    labels: Sequence[Any], sizes: Any | None = None, config: BalancerConfig | None = None
) -> np.ndarray:
    """Weights ``(N,)`` under which the draws balance several clusterings: above 0, at most `cap`, of mean 1 over the draws.

    `labels` has an array ``(N,)`` of cluster numbers for each clustering, `sizes` ``(N,)`` the draws that one copy of each
    event gets, i.e. its rows in the view; None: one each.

    Raises:
        ValueError: No events, arrays of different lengths, or a size that is not above 0.
    """
    config = config or BalancerConfig()
    cells, cell, mass = _cells(labels, sizes)
    codes = [np.unique(row, return_inverse=True)[1] for row in cells]
    return _cap(_rake(codes, mass, config.temperature), mass, config.cap)[cell]


def expected_copies(
    weights: np.ndarray, sizes: Any | None = None, config: BalancerConfig | None = None
) -> np.ndarray:
    """``(N,)`` copies before rounding: proportional to the weights, but at least `min_copies`.

    They add up to `growth` times the plain view's rows.
    """
    config = config or BalancerConfig()
    size = _sizes(sizes, len(weights))
    least, wanted = config.min_copies, config.growth * size.sum()
    if wanted <= least * size.sum():
        return np.full(len(weights), float(least))
    # The factor solves sum(size * max(least, factor * weight)) = wanted, piece by piece between its kinks.
    order = np.argsort(-weights, kind="stable")
    w, s = weights[order], size[order]
    factors = (wanted - least * (size.sum() - np.cumsum(s))) / np.cumsum(w * s)
    nearest = np.append(w[1:], 0.0) * factors <= least
    return np.maximum(least, factors[np.argmax(nearest)] * weights)


def balanced_copies(
    weights: np.ndarray,
    labels: Sequence[Any],
    sizes: Any | None = None,
    config: BalancerConfig | None = None,
    seed: int = 0,
) -> np.ndarray:
    """``(N,)`` integer copies whose expectation over seeds is `expected_copies`, each off by less than 1.

    Systematic sampling: events are lined up cell by cell in random order, and every whole step of their running sum is
    a copy. So a cell's copies add up to its expectation to within 1, which rounding each event by itself would not do.
    """
    expected = expected_copies(weights, sizes, config)
    cell = _cells(labels, sizes)[1]
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(expected))
    order = shuffled[np.argsort(cell[shuffled], kind="stable")]
    copies = np.floor(expected).astype(np.int64)
    # Only the fractions are lined up: their sum stays small, where that of ten million copies would lose digits.
    steps = np.floor(np.cumsum((expected - copies)[order]) + rng.random())
    copies[order] += np.diff(steps, prepend=0.0).astype(np.int64)
    return copies


def _sizes(sizes: Any | None, count: int) -> np.ndarray:
    size = np.ones(count) if sizes is None else np.asarray(sizes, dtype=np.float64)
    if size.shape != (count,) or not (np.isfinite(size) & (size > 0)).all():
        raise ValueError(f"sizes must be {count} numbers above 0, got shape {size.shape}")
    return size


def _cells(labels: Sequence[Any], sizes: Any | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct combinations ``(M, C)`` in ascending order, that of each event ``(N,)``, and their draws ``(C,)``."""
    lengths = [len(column) for column in labels]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise ValueError(f"every clustering needs a label for each of at least one event, got {lengths}")
    table = np.stack([np.asarray(column) for column in labels])
    if not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"labels must be integers, got {table.dtype}")
    # `np.unique(axis=1)` sorts whole columns, which takes minutes for ten million events.
    cell = pd.DataFrame(table.T).groupby(list(range(len(table)))).ngroup().to_numpy()
    member = np.zeros(cell.max() + 1, dtype=np.int64)
    member[cell] = np.arange(len(cell))  # one event of each combination
    return table[:, member], cell, np.bincount(cell, _sizes(sizes, table.shape[1]))


def _rake(codes: list[np.ndarray], mass: np.ndarray, temperature: float) -> np.ndarray:
    """``(C,)`` weights; see the head of the file."""
    sizes = [np.bincount(code, mass) for code in codes]
    # Relative to the greatest, or a power of a large number loses digits.
    shares = [(size / size.max()) ** (1 / temperature) for size in sizes]
    targets = [share / share.sum() * mass.sum() for share in shares]
    logs = [np.zeros(len(size)) for size in sizes]

    def weight(leave_out: int | None = None) -> np.ndarray:
        factors = (logs[m][code] for m, code in enumerate(codes) if m != leave_out)
        return np.exp(sum(factors, np.zeros(len(mass))))

    for _ in range(_ROUNDS):
        for m, code in enumerate(codes):
            drawn = np.bincount(code, mass * weight(leave_out=m))
            ratio = targets[m] / drawn
            # Equal sizes are in no order: sorted by their own ratio they constrain nothing.
            order = np.lexsort((-ratio, sizes[m]))
            fitted = np.empty_like(ratio)
            fitted[order] = isotonic_regression(ratio[order], weights=drawn[order], increasing=False).x
            logs[m] = np.clip(_GIVE * np.log(fitted), -50, 50)
    result = weight()
    return result / (result @ mass / mass.sum())


def _cap(weight_C: np.ndarray, mass_C: np.ndarray, cap: float) -> np.ndarray:
    """Cuts weights of mean 1 at `cap`; what is cut off goes to the others in proportion, so the mean stays 1."""
    order = np.argsort(-weight_C, kind="stable")
    w, m = weight_C[order], mass_C[order]
    held = np.append(0.0, np.cumsum(m)[:-1])  # draws of those before each one
    rest = np.cumsum((w * m)[::-1])[::-1]
    # With the first i at the cap the others are multiplied by factor[i]; the first i whose next one stays below it.
    factor = (m.sum() - cap * held) / rest
    fits = w * factor <= cap
    if not fits.any():
        return np.ones_like(weight_C)  # cap = 1
    return np.minimum(cap, weight_C * factor[np.argmax(fits)])
