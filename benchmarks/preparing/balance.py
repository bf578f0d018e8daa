# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Time, memory and evenness of clustering and balancing at scale, on made-up events of skewed clusters.

    python benchmarks/bench_balance.py                       # 1,000,000 embeddings, 10,000,000 events to balance
    python benchmarks/bench_balance.py --scale 0.1           # a tenth of both

Exits with 1 if clustering takes 10 minutes or 8 GB, if balancing takes 60 s, if the draws' normalised entropy is below
0.97, or if the rarest tenth of the clusters is drawn less than 5 times as often as before. Embeddings are as wide as those
of `wallwm prepare --balance=true`: 64 + 64 numbers of keyframe and caption, 6 joints of 6 coefficients and a duration. They
come from 1000 Gaussian clouds a clustering, whose sizes fall as 1 / rank; half of the time an event's action cloud is
that of its keyframe. Clusters that k-means makes are less skewed than the clouds it sees, for it cuts large clouds to
pieces; so balancing is timed and judged on the clouds themselves, and k-means' own clusters stand beside them with what
perfectly even draws would gain.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

import numpy as np

from lerobot_wallwm.processors.balance.balancer import balance_figures, balanced_copies, balanced_weights
from lerobot_wallwm.processors.balance.clusterer import ClusterConfig, cluster_events

CLUSTERS = 1000
WIDTHS = {"image": 64, "text": 64, "action": 37}
SPREAD = 0.7  # of a cloud, in distances between clouds per dimension: neighbours overlap
NEEDED_CLUSTER_S, NEEDED_CLUSTER_GB, NEEDED_BALANCE_S = 600, 8, 60
NEEDED_ENTROPY, NEEDED_GAIN = 0.97, 5


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full numbers of events")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    embedded, balanced = int(1_000_000 * args.scale), int(10_000_000 * args.scale)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS={threads}, load {os.getloadavg()[0]:.1f} at the start")

    rng = np.random.default_rng(args.seed)
    seen, moved = _clouds(rng, embedded)
    parts = [
        _points(rng, cloud, width) for cloud, width in zip((seen, seen, moved), WIDTHS.values(), strict=True)
    ]
    inputs = sum(part.nbytes for part in parts) / 1e9
    began, busy = time.perf_counter(), time.process_time()
    config = ClusterConfig(vl_clusters=CLUSTERS, action_clusters=CLUSTERS)
    labels = cluster_events(*parts, config=config)
    cluster_s, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"cluster {embedded:,} events, both clusterings into {CLUSTERS}: {cluster_s:.1f} s "
        f"({busy:.1f} s of processor time), peak {peak:.2f} GB with {inputs:.2f} GB of embeddings"
    )
    for name, found, cloud in zip(("vl", "action"), labels, (seen, moved), strict=True):
        print(f"  {name}: events whose cluster is mostly of their own cloud {_purity(found, cloud):.3f}")
    ok = cluster_s < NEEDED_CLUSTER_S and peak < NEEDED_CLUSTER_GB
    _balance(list(labels), "k-means' clusters")
    del parts, labels

    seconds, even = _balance(list(_clouds(rng, balanced)), "clouds")
    ok = ok and even and seconds < NEEDED_BALANCE_S
    print("passes" if ok else "FAILS, see the needed figures at the head of this file")
    return 0 if ok else 1


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


def _balance(labels: list[np.ndarray], what: str) -> tuple[float, bool]:
    count = len(labels[0])
    began, busy = time.perf_counter(), time.process_time()
    weights = balanced_weights(labels)
    copies = balanced_copies(weights, labels)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    print(
        f"balance {count:,} events, {what}: {seconds:.1f} s for weights and copies "
        f"({busy:.1f} s of processor time), weights {weights.min():.4f} to {weights.max():.1f}, copies {copies.min()} to {copies.max()}"
    )
    even = True
    for name, own in zip(("vl", "action"), labels, strict=True):
        for how, after in (("weights", weights), ("copies", copies)):
            f = balance_figures(own, np.ones(count), after)
            even &= f["entropy_after"] >= NEEDED_ENTROPY and f["rarest_decile_gain"] >= NEEDED_GAIN
            print(
                f"  {name + ', ' + how:<16} Gini {f['gini_before']:.3f} -> {f['gini_after']:.3f}, entropy "
                f"{f['entropy_before']:.3f} -> {f['entropy_after']:.3f}, rarest tenth {f['rarest_decile_gain']:.1f} x "
                f"(perfectly even draws: {f['rarest_decile_even_gain']:.1f} x)"
            )
    return seconds, even


if __name__ == "__main__":
    sys.exit(main())
