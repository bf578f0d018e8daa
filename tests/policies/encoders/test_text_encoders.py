# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import os
import subprocess
import sys

import pytest
import torch

from lerobot_wallwm.policies.encoders import hashed_words as text_encoders
from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder

OPEN, CLOSE = "open the gripper", "close the gripper"
PRINT_BITS = """
import importlib.util, sys, torch
spec = importlib.util.spec_from_file_location("text_encoders", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch.set_num_threads(1)
torch.manual_seed(3)
print(module.HashedTextEncoder(16)(["open the gripper", "Reach for the RED cube, now!"]).flatten().view(torch.int32).tolist())
"""


def encoder(seed: int = 3, dim: int = 16, **kwargs) -> HashedTextEncoder:
    torch.manual_seed(seed)
    return HashedTextEncoder(dim, **kwargs)


def test_same_tokens_in_every_process():
    # Python salts hash() per process; the salt must not change a token.
    there = subprocess.run(
        [sys.executable, "-c", PRINT_BITS, text_encoders.__file__],
        env={**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = encoder()(["open the gripper", "Reach for the RED cube, now!"])
    assert there.strip() == str(here.flatten().view(torch.int32).tolist())


@pytest.mark.parametrize("seed", range(5))
def test_opposite_events_are_apart_from_the_start(seed):
    tokens = encoder(seed, dim=64)([OPEN, CLOSE])
    means = tokens[:, :3].mean(1)
    # Sentence vectors of a frozen encoder have a cosine of 0.91 here.
    assert torch.cosine_similarity(means[0], means[1], dim=0) < 0.85
    words = torch.cosine_similarity(tokens[0, :3], tokens[1, :3], dim=-1)
    assert words[0] < 0.5  # "open" and "close"
    assert torch.equal(tokens[0, 1:3], tokens[1, 1:3])  # "the gripper" is said in the same words


def test_training_separates_opposite_events():
    model, head = encoder(), torch.nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=0.05)
    target = torch.tensor([1.0, -1.0])
    for _ in range(60):
        out = head(model([OPEN, CLOSE]).mean(1)).squeeze(-1)
        loss = (out - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-2


def test_only_the_words_of_a_caption_learn_from_it():
    model = encoder()
    model([OPEN]).sum().backward()
    learnt = model.table.weight.grad.abs().sum(1) > 0
    assert 3 <= int(learnt.sum()) <= 30 and not learnt[0]


def test_unseen_words_have_vectors_and_resemble_their_relatives():
    model = encoder(dim=64)
    with torch.no_grad():
        model.position.zero_()
    cube, cubes, xylophone = (model([word])[0, 0] for word in ("cube", "cubes", "xylophone"))
    assert xylophone.norm() > 0
    assert torch.cosine_similarity(cube, cubes, dim=0) > torch.cosine_similarity(cube, xylophone, dim=0) + 0.1


def test_unused_slots_are_zero():
    tokens = encoder(max_tokens=6)(["lift the cube", "", "a b c d e f g h"])
    assert tokens.shape == (3, 6, 16)
    assert bool((tokens[0, :3].abs().sum(-1) > 0).all()) and torch.equal(tokens[0, 3:], torch.zeros(3, 16))
    assert torch.equal(tokens[1], torch.zeros(6, 16))
    assert bool((tokens[2].abs().sum(-1) > 0).all())


def test_order_matters_and_neither_case_nor_neighbours_do():
    model = encoder()
    red, mixed, swapped, long = model(["red on blue", "Red ON blue", "blue on red", "put the xylophone " * 9])
    assert torch.equal(red, mixed)
    assert not torch.allclose(red, swapped)
    torch.testing.assert_close(model(["red on blue"])[0], red)
