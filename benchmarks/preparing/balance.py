# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Time, memory and evenness of clustering and balancing at scale, on made-up events of skewed clusters.

1,000,000 embeddings and 10,000,000 events to balance, times `--scale`. Fails if clustering takes 10 minutes or 8 GB, if
balancing takes 60 s, if the draws' normalised entropy is below 0.97, or if the rarest tenth of the clusters is drawn
less than 5 times as often as before. Embeddings are as wide as those of `wallwm prepare --balance=true`: 64 + 64 numbers
of keyframe and caption, 6 joints of 6 coefficients and a duration. They come from 1000 Gaussian clouds a clustering,
whose sizes fall as 1 / rank; half of the time an event's action cloud is that of its keyframe. Clusters that k-means
makes are less skewed than the clouds it sees, for it cuts large clouds to pieces; so balancing is judged on the clouds
themselves, and k-means' own clusters stand beside them with what perfectly even draws would gain.
"""

import resource
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import numpy as np

from benchmarks.harness.rows import Row, bar
from lerobot_wallwm.processors.balance.balancer import balance_figures, balanced_copies, balanced_weights
from lerobot_wallwm.processors.balance.clusterer import ClusterConfig, EventClusterer

CLUSTERS = 1000
WIDTHS = {"image": 64, "text": 64, "action": 37}
SPREAD = 0.7  # of a cloud, in distances between clouds per dimension: neighbours overlap
NEEDED_CLUSTER_S, NEEDED_CLUSTER_GB, NEEDED_BALANCE_S = 600, 8, 60
NEEDED_ENTROPY, NEEDED_GAIN = 0.97, 5
QUICK = {"scale": 0.004}


def flags(parser: ArgumentParser) -> None:
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full numbers of events")
    parser.add_argument("--seed", type=int, default=0)


def rows(args: Namespace) -> Iterator[Row]:
    rng = np.random.default_rng(args.seed)
    embedded, balanced = int(1_000_000 * args.scale), int(10_000_000 * args.scale)
    seen, moved = _clouds(rng, embedded)
    clouds = zip((seen, seen, moved), WIDTHS.values(), strict=True)
    parts = [_points(rng, cloud, width) for cloud, width in clouds]
    began = time.perf_counter()
    config = ClusterConfig(vl_clusters=CLUSTERS, action_clusters=CLUSTERS)
    labels = EventClusterer(config).fit(*parts).predict(*parts)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cells = {"what": f"both clusterings into {CLUSTERS}", "events": embedded}
    yield Row("time", {**cells, "seconds": seconds, "peak, GB": peak})
    yield bar("clustering, seconds", seconds, most=NEEDED_CLUSTER_S)
    yield bar("clustering, GB", peak, most=NEEDED_CLUSTER_GB)
    for name, found, cloud in zip(("vl", "action"), labels, (seen, moved), strict=True):
        cells = {"clustering": name, "share": _purity(found, cloud)}
        yield Row("events whose cluster is mostly of their own cloud", cells)
    yield from _balance(list(labels), "k-means' clusters", judged=False)
    del parts, labels
    yield from _balance(list(_clouds(rng, balanced)), "clouds", judged=True)


def _clouds(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cloud of each event in both clusterings ``(N,)``."""
    share = 1 / np.arange(1, CLUSTERS + 1)
    share /= share.sum()
    seen, moved = (rng.choice(CLUSTERS, count, p=share) for _ in range(2))
    return seen, np.where(rng.random(count) < 0.5, seen, moved)


def _points(rng: np.random.Generator, cloud: np.ndarray, width: int) -> np.ndarray:
    centres = rng.standard_normal((CLUSTERS, width), dtype=np.float32)
    points = rng.standard_normal((len(cloud), width), dtype=np.float32)
    points *= np.float32(SPREAD)
    points += centres[cloud]
    return points


def _purity(found: np.ndarray, cloud: np.ndarray) -> float:
    pairs = np.bincount(found * CLUSTERS + cloud, minlength=CLUSTERS**2).reshape(CLUSTERS, CLUSTERS)
    return float(pairs.max(axis=1).sum() / len(cloud))


def _balance(labels: list[np.ndarray], what: str, judged: bool) -> Iterator[Row]:
    began, count = time.perf_counter(), len(labels[0])
    weights = balanced_weights(labels)
    copies = balanced_copies(weights, labels)
    seconds = time.perf_counter() - began
    yield Row("time", {"what": f"balance, {what}", "events": count, "seconds": seconds})
    figures = [
        (f"{name}, {how}", balance_figures(own, np.ones(count), after))
        for name, own in zip(("vl", "action"), labels, strict=True)
        for how, after in (("weights", weights), ("copies", copies))
    ]
    for name, f in figures:
        cells = {"draws": name, "Gini before": f["gini_before"], "after": f["gini_after"]}
        cells |= {"entropy before": f["entropy_before"], "entropy after": f["entropy_after"]}
        cells |= {"rarest tenth, times": f["rarest_decile_gain"], "even draws": f["rarest_decile_even_gain"]}
        yield Row(f"{what}, {count} events", cells)
    if judged:
        yield bar("balancing, seconds", seconds, most=NEEDED_BALANCE_S)
        yield bar("entropy after", min(f["entropy_after"] for _, f in figures), NEEDED_ENTROPY)
        gain = min(f["rarest_decile_gain"] for _, f in figures)
        yield bar("rarest tenth, times as often", gain, NEEDED_GAIN)
