# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare --balance=true`: clusters, copies, weights and columns of the views."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tables import annotated, contents, load

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.balance.balancer import balance_figures
from lerobot_wallwm.processors.balance.embedder import EventEmbedder
from lerobot_wallwm.processors.prepare.prepare import print_summary
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import read_events
from lerobot_wallwm.processors.synchronize.source import SynchronizedSource, SyncVerdict
from lerobot_wallwm.processors.view.verify import verify_view

FLAGS = ("--quiet=true", "--balance=true", "--heldout=0.34", "--cluster.vl_clusters=3")


def run(source: Path, out: Path, *flags: str) -> int:
    return main(["prepare", f"--dataset.root={source}", f"--out.root={out}", *FLAGS, *flags])


@pytest.fixture(scope="module")
def balanced(tiny_dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("balanced") / "events"
    assert run(tiny_dataset, out, "--prune_quasi_static=0.4") == 0
    return out


def episodes(view: Path) -> dict[str, np.ndarray]:
    tables = [pq.read_table(path) for path in sorted((view / "meta" / "episodes").glob("*/*.parquet"))]
    return {
        name: np.concatenate([t[name].to_numpy(zero_copy_only=False) for t in tables])
        for name in tables[0].column_names
    }


def test_the_view_holds_the_copies_and_the_clusters(balanced, tiny_dataset):
    table = pq.read_table(balanced / "clusters.parquet").to_pydict()
    of = {name: dict(zip(table["event_id"], values, strict=True)) for name, values in table.items()}
    actions = {e.event_id for e in read_events(balanced / "events.parquet") if e.level == "action"}
    assert set(table["event_id"]) == actions
    for split in ("train", "heldout"):
        rows = episodes(balanced / split)
        ids, count = np.unique(rows["wallwm/event_id"], return_counts=True)
        assert {of["split"][i] for i in ids} == {split}
        assert dict(zip(ids, count, strict=True)) == {i: of["copies"][i] for i in ids}
        for name in ("vl_cluster", "action_cluster", "weight"):
            values = [of[name][i] for i in rows["wallwm/event_id"]]
            np.testing.assert_array_equal(rows[f"wallwm/{name}"], values)
        assert verify_view(tiny_dataset, balanced / split, frames=split == "heldout").ok
    heldout = [i for i in actions if of["split"][i] == "heldout"]
    assert all(of["copies"][i] == 1 and of["weight"][i] == 1 for i in heldout)
    assert max(table["copies"]) > 6 > 1 == min(table["copies"])


def test_figures_are_those_of_the_rows_that_are_drawn(balanced, capsys):
    summary = json.loads((balanced / "summary.json").read_text())
    rows = episodes(balanced / "train")
    first = rows["wallwm/copy"] == 0
    for name in ("vl", "action"):
        labels, lengths = rows[f"wallwm/{name}_cluster"], rows["length"]
        after = np.bincount(labels, lengths)
        before = np.bincount(labels[first], lengths[first])
        present = np.flatnonzero(before)
        assert summary["balance"][name] == pytest.approx(
            balance_figures(present, before[present], after[present])
        )
        assert summary["balance"][name]["entropy_after"] > summary["balance"][name]["entropy_before"]
    assert summary["balance"]["copies"] == len(first) and summary["balance"]["events"] == first.sum()
    print_summary(summary, "out")
    printed = capsys.readouterr().out
    assert "clusters drawn" in printed and f"{len(first)} copies" in printed


def test_weights_mend_what_copies_round(balanced):
    """Rows drawn alike and weighted by weights.parquet give each event exactly its weight."""
    rows = episodes(balanced / "train")
    table = pq.read_table(balanced / "train" / "weights.parquet")
    assert table.column_names == ["index", "weight"]
    total = pq.read_table(next((balanced / "train" / "data").glob("*/*.parquet")))["index"].to_numpy()
    np.testing.assert_array_equal(np.sort(table["index"]), np.sort(total))
    weight = table["weight"].to_numpy()
    assert weight.mean() == pytest.approx(1)
    event = np.repeat(rows["wallwm/event_id"], rows["length"])
    got = np.bincount(event, weight)
    once = rows["wallwm/copy"] == 0
    wanted = np.zeros_like(got)
    wanted[rows["wallwm/event_id"][once]] = (rows["wallwm/weight"] * rows["length"])[once]
    np.testing.assert_allclose(got / got.sum(), wanted / wanted.sum(), atol=1e-12)


def test_lerobot_reads_the_balanced_view(balanced):
    dataset, rows = load(balanced / "train"), episodes(balanced / "train")
    assert len(dataset) == rows["length"].sum()
    clusters = dataset.meta.episodes["wallwm/action_cluster"]
    np.testing.assert_array_equal(clusters, rows["wallwm/action_cluster"])


def test_same_input_same_bytes(balanced, tiny_dataset, tmp_path):
    assert run(tiny_dataset, tmp_path / "again", "--prune_quasi_static=0.4") == 0
    assert contents(tmp_path / "again") == contents(balanced) and len(contents(balanced)) > 8


@pytest.mark.parametrize(
    "flag",
    ["--balancer.cap=0.5", "--balancer.temperature=0", "--cluster.text_weight=2", "--cluster.encoder=x/y"],
)
def test_wrong_flags_are_one_clear_error(capsys, tiny_dataset, tmp_path, flag):
    assert run(tiny_dataset, tmp_path / "out", flag) == 2
    err = capsys.readouterr().err
    assert flag.split("=")[0] in err and "Fix: " in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_events_of_a_synchronised_dataset_are_embedded_on_its_clock(tiny_dataset):
    """Its frames count from the first one that has picture, state and action, not from the recording's first."""
    raw = SourceDataset.open(tiny_dataset)
    length = len(raw.read(1))
    verdict = SyncVerdict(raw.episode_indices[1], length, 0, 0, 1.0, 9.0, 0.0, 3, length)
    late = next(e for e in annotated([raw.read(1)]) if e.level == "action" and e.start > 3)
    embedder = EventEmbedder()
    moved = replace(late, start=late.start - 3, end=late.end - 3)
    there = embedder.embed(SynchronizedSource.of(raw, [verdict]), [moved])
    here, wrong = embedder.embed(raw, [late]), embedder.embed(raw, [moved])
    np.testing.assert_allclose(there[0], here[0], atol=1e-6)
    np.testing.assert_allclose(there[2], here[2], atol=1e-5)
    assert np.abs(wrong[0] - here[0]).max() > 1e-3 and np.abs(wrong[2] - here[2]).max() > 1e-3
