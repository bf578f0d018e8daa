# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The instrument of language: an arm that obeys scores all pairs, one that does not listen scores what chance gives."""

from argparse import Namespace

import pytest

from benchmarks.harness.rows import CannotRunError
from benchmarks.so101.language import QUICK, rows, summarise


def _episode(seed, did, kind="cube"):
    scores = {"told": (100.0, 20.0), "other": (20.0, 100.0), "neither": (0.0, 0.0)}[did]
    return {
        "seed": seed,
        "did": did,
        "differ_in": kind,
        "task_progress": scores[0],
        "other_progress": scores[1],
    }


def test_counts_of_pairs():
    first = [_episode(1, "told"), _episode(2, "told", "order"), _episode(3, "neither")]
    swapped = [_episode(3, "other"), _episode(2, "told", "order"), _episode(1, "other")]
    table = {row.cells["differ in"]: row.cells for row in summarise(first, swapped)}
    assert set(table) == {"cube", "order", "any"}
    every = table["any"]
    assert (every["as told"].hits, every["the other"].hits, every["neither"].hits) == (3, 2, 1)
    assert (every["as told, of one or the other"].hits, every["as told, of one or the other"].of) == (3, 5)
    assert (every["pairs followed"].hits, every["pairs followed"].of) == (1, 3)
    assert every["Task Progress, told less other"].mean == pytest.approx(80 * (3 - 2) / 6)
    with pytest.raises(CannotRunError, match="same scenes"):
        list(summarise(first, swapped[:2]))


def test_the_expert_obeys_and_the_deaf_arm_is_at_chance(tmp_path):
    def share(stand_in, pairs):
        args = Namespace(policy=None, stand_in=stand_in, pairs=pairs, fresh=False, out=tmp_path / stand_in)
        return list(rows(args))[-1].cells

    obeying = share("expert", QUICK["pairs"])
    assert obeying["pairs followed"].hits == obeying["pairs followed"].of == QUICK["pairs"]
    deaf = share("deaf", 6)
    assert 2 <= deaf["as told"].hits <= 10 and deaf["neither"].hits <= 2
    assert deaf["pairs followed"].hits <= 4


@pytest.mark.parametrize("given", [{"policy": None, "stand_in": None, "pairs": 1}, {"pairs": 0}])
def test_what_it_needs_is_said(tmp_path, given):
    args = Namespace(**{"policy": None, "stand_in": "expert", "fresh": False, "out": tmp_path, **given})
    with pytest.raises(CannotRunError, match="--p"):
        list(rows(args))
