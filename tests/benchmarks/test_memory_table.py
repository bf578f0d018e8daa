# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The memory table counts what real steps need, and what it derives adds up."""

from dataclasses import replace

import pytest

from benchmarks.speed.memory import CHECKED, SCALED, Run, measured, memory, smallest_card, towers

CASES = [
    "weights dominate",
    "video frozen",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("activations dominate", "checkpointing", "muon")
    ),
]


@pytest.mark.parametrize("name", CASES)
def test_counted_peaks_are_measured_ones(name):
    run, size = CHECKED[name]
    assert memory(run, size).peak == pytest.approx(measured(name), rel=0.1)


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
    checkpointed = memory(replace(run, checkpointing=True), SCALED)
    assert checkpointed.kept + checkpointed.block < 0.4 * one.kept


def test_batches_and_cards():
    small, large = (memory(Run("scaled", "joint", batch=n, bfloat16=False), SCALED) for n in (1, 4))
    assert large.kept == pytest.approx(4 * small.kept, rel=0.1) and large.weights == small.weights
    assert smallest_card(int(20e9)) == "24 GB" and smallest_card(int(23e9)) == "48 GB"
    assert smallest_card(int(1e12)) == "none"
    assert towers(SCALED)["video"][0] > towers(SCALED)["action"][0]
