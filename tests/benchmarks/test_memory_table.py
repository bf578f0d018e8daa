# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The memory table counts what real steps need, and what it derives adds up."""

from dataclasses import replace

import pytest

from benchmarks.speed.memory import CHECKED, SCALED, Run, measured, memory, smallest_card, towers

OFTEN = ("weights dominate", "bfloat16, video frozen")
CASES = [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in CHECKED]


@pytest.mark.parametrize("name", CASES)
def test_counted_peaks_are_measured_ones(name):
    run, size = CHECKED[name]
    assert memory(run, size).peak == pytest.approx(measured(name), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["FSDP1", "FSDP2"])
def test_a_rank_of_two_needs_less_than_two_thirds(method):
    assert measured(f"deep, two ranks of {method}") < 0.65 * measured("deep, one rank")


def test_methods_save_what_they_say():
    run = Run("scaled", "joint", batch=2, draws=2, bfloat16=False)
    one, muon = memory(run, SCALED), memory(replace(run, optimizer="muon"), SCALED)
    assert (
        one.optimizer == 2 * one.weights and one.weights < muon.optimizer + one.gradients < 2.2 * one.weights
    )
    ddp = memory(replace(run, method="DDP", devices=8), SCALED)
    assert ddp.gradients == 2 * one.gradients and ddp.weights == one.weights
    fsdp = memory(replace(run, method="FSDP2", devices=8), SCALED)
    assert fsdp.weights == pytest.approx(one.weights / 8, abs=8) and fsdp.kept == one.kept
    lora = memory(replace(run, method="LoRA"), SCALED)
    assert lora.gradients < 0.2 * one.gradients and lora.weights > one.weights
    frozen = [memory(replace(run, stage="action", bfloat16=half), SCALED).weights for half in (True, False)]
    assert frozen[1] - frozen[0] == 2 * towers(SCALED)["video"][0]
    whole = memory(replace(run, method="FSDP1", devices=64, average=True), SCALED)
    assert whole.peak >= whole.start == 2 * one.weights  # before it is sharded, the average too
    checkpointed = memory(replace(run, checkpointing=True), SCALED)
    assert checkpointed.kept + checkpointed.block < 0.4 * one.kept


def test_batches_and_cards():
    small, large = (memory(Run("scaled", "joint", batch=n, bfloat16=False), SCALED) for n in (1, 4))
    assert large.kept == pytest.approx(4 * small.kept, rel=0.1) and large.weights == small.weights
    assert smallest_card(int(20e9)) == "24 GB" and smallest_card(int(23e9)) == "32 GB"
    assert smallest_card(int(1e12)) == "none"
    assert towers(SCALED)["video"][0] > towers(SCALED)["action"][0]
