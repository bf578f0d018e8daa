# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare --balance=true`: embed the events, cluster them, weigh them, and mark the views.

The clusters are found in the training events alone; held-out events go to the nearest ones and are never copied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.balance.balancer import (
    BalancerConfig,
    balance_figures,
    balanced_copies,
    balanced_weights,
)
from lerobot_wallwm.processors.balance.clusterer import ClusterConfig, EventClusterer
from lerobot_wallwm.processors.balance.embedder import EventEmbedder
from lerobot_wallwm.processors.motion.quasi_static import QuasiStaticPruner
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.storage.errors import DataError

CLUSTERINGS = ("vl", "action")


class Balance:
    """The clusters, weights and copies of the carved level's events.

    `labels` are ``(N,)`` of each of `CLUSTERINGS`, `rows` ``(N,)`` those that one copy of each event has in the view;
    `train` are the source episodes of the training view, and `seed` is of the rounding to copies.
    """

    def __init__(
        self,
        events: Sequence[Event],
        labels: Sequence[np.ndarray],
        rows: np.ndarray,
        train: Iterable[int],
        config: BalancerConfig,
        seed: int,
    ) -> None:
        self.events, self.labels, self.rows = events, labels, rows
        chosen = set(train)
        self.in_train = np.array([event.episode_index in chosen for event in events])
        self.weight, self.count = np.ones(len(events)), np.ones(len(events), np.int64)
        own, size = [label[self.in_train] for label in labels], rows[self.in_train]
        weight = balanced_weights(own, size, config)
        self.weight[self.in_train] = weight
        self.count[self.in_train] = balanced_copies(weight, own, size, config, seed)
        self.copies = {event.event_id: int(n) for event, n in zip(events, self.count, strict=True)}

    def figures(self) -> dict[str, Any]:
        """Evenness of the training view's draws, by rows, before and after; see `balance_figures`."""
        rows, count = self.rows[self.in_train], self.count[self.in_train]
        figures: dict[str, Any] = {
            name: balance_figures(label[self.in_train], rows, rows * count)
            for name, label in zip(CLUSTERINGS, self.labels, strict=True)
        }
        figures |= {"events": int((count > 0).sum()), "copies": int(count.sum()), "most": int(count.max())}
        return figures | {"events_left_out": int((count == 0).sum())}

    def write(self, path: Path) -> None:
        """Writes `clusters.parquet`: `event_id`, the cluster columns, `split`, `weight` and `copies`."""
        columns: dict[str, Any] = {
            "event_id": pa.array([event.event_id for event in self.events], pa.int64())
        }
        columns |= zip((f"{name}_cluster" for name in CLUSTERINGS), self.labels, strict=True)
        columns |= {"split": np.where(self.in_train, "train", "heldout"), "weight": self.weight}
        pq.write_table(pa.table(columns | {"copies": self.count}), path)

    def facts(self) -> dict[int, dict[str, Any]]:
        """What the views say of each event: `vl_cluster`, `action_cluster` and `weight`, by `event_id`."""
        columns = {
            f"{name}_cluster": label.tolist() for name, label in zip(CLUSTERINGS, self.labels, strict=True)
        }
        columns["weight"] = self.weight.tolist()
        rows = zip(*columns.values(), strict=True)
        return {
            e.event_id: dict(zip(columns, row, strict=True)) for e, row in zip(self.events, rows, strict=True)
        }

    def write_weights(self, view: Path, balanced: bool) -> None:
        """Writes a view's `weights.parquet`: `index` and `weight`, one line a row of the view, mean 1.

        It has the shape of LeRobot's pull request 4222: what a row must still count so that uniform draws from the view become
        the exact balance. A view without copies gets the weights themselves; in one with copies (`balanced`) they only
        mend the rounding.
        """
        order = {event.event_id: i for i, event in enumerate(self.events)}
        names = ["wallwm/event_id", "dataset_from_index", "dataset_to_index"]
        files = sorted((view / "meta" / "episodes").glob("*/*.parquet"))
        table = pa.concat_tables([pq.read_table(path, columns=names) for path in files])
        rows = [order[event] for event in table.column(names[0]).to_pylist()]
        first, end = (table.column(name).to_numpy() for name in names[1:])
        left = self.weight[rows] / (self.count[rows] if balanced else 1)
        weight = np.repeat(left, end - first)
        columns = {"index": np.arange(len(weight)), "weight": weight / weight.mean()}
        pq.write_table(pa.table(columns), view / "weights.parquet")


def balance_events(
    embedder: EventEmbedder,
    source: SourceDataset,
    events: Sequence[Event],
    train: Iterable[int],
    out: Path,
    cluster: ClusterConfig,
    balancer: BalancerConfig,
    *,
    pruner: QuasiStaticPruner | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Balance:
    """Embeds, clusters and weighs the events of one level; writes `clusters.parquet` to `out`.

    `source` is cleaned and synchronised as it is carved; the pruner changes how many rows an event has in the view.
    `progress` is called with the number of events embedded since its last call.

    Raises:
        DataError: A keyframe does not decode, or there is no event to balance.
    """
    train = set(train)
    learn = np.array([event.episode_index in train for event in events], dtype=bool)
    if not learn.any():
        raise DataError(source.root, "events", "there is none to balance", "check the level and the split")
    parts = embedder.embed(source, events, progress)
    dims = source.embodiment.action if source.embodiment else ()
    labels = EventClusterer(cluster, dims).fit(*(part[learn] for part in parts)).predict(*parts)
    balance = Balance(events, labels, _rows(source, events, pruner), train, balancer, seed)
    balance.write(out / "clusters.parquet")
    return balance


def print_figures(figures: Mapping[str, Any]) -> None:
    """The balance as a few lines of `wallwm prepare`'s table."""
    print(f"{'clusters drawn':<20}{'count':>8}{'Gini':>16}{'entropy':>18}{'rarest tenth (if even)':>26}")
    for name in CLUSTERINGS:
        row = figures[name]
        gini, entropy = (
            f"{row[f'{key}_before']:.2f} -> {row[f'{key}_after']:.2f}" for key in ("gini", "entropy")
        )
        gain = f"{row['rarest_decile_gain']:.1f} x ({row['rarest_decile_even_gain']:.1f} x)"
        print(f"{name:<20}{row['clusters']:>8}{gini:>16}{entropy:>18}{gain:>26}")
    left_out = f", {figures['events_left_out']} events left out" if figures["events_left_out"] else ""
    copies = f"{figures['copies']} copies, at most {figures['most']} of one"
    print(f"{figures['events']} events in {copies}{left_out}\n")


def _rows(source: SourceDataset, events: Sequence[Event], pruner: QuasiStaticPruner | None) -> np.ndarray:
    rows = np.array([event.length for event in events])
    if pruner is None:
        return rows
    by_episode: dict[int, list[int]] = defaultdict(list)
    for i, event in enumerate(events):
        by_episode[event.episode_index].append(i)
    for position, episode in enumerate(source.episode_indices):
        if episode in by_episode:
            kept = pruner(source.read(position))
            for i in by_episode[episode]:
                rows[i] = len(kept(events[i].start, events[i].end))
    return rows
