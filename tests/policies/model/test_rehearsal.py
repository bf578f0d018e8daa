# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import pytest
import torch

from lerobot_wallwm.policies.model.rehearsal import Rehearsal
from lerobot_wallwm.policies.towers.goal_head import GoalHead

ALL = torch.ones(4, dtype=torch.bool)


def poses(head: GoalHead, read: torch.Tensor) -> torch.Tensor:
    return head.pose(read)[0]


def value(loss: torch.Tensor) -> float:
    return float(loss.detach())


@pytest.fixture
def head() -> GoalHead:
    torch.manual_seed(0)
    return GoalHead(
        text_dim=2, state_dim=3, action_dim=2, width=4, max_views=1, landmarks=1, hidden=32
    ).eval()


def test_samples_of_earlier_batches_count_and_those_without_an_end_do_not(head):
    again, read = Rehearsal(), torch.randn(4, 7)
    far, near = torch.full((4, 2), 100.0), poses(head, read).detach()
    assert value(again(head, read, near, ALL)) == pytest.approx(0, abs=1e-6)
    assert value(again(head, read, far, ~ALL)) == pytest.approx(0, abs=1e-6)
    assert value(again(head, read, far, ALL)) > 10
    assert value(again(head, read, near, ALL)) > 10  # the far ones are among the drawn


def test_a_batch_that_knows_no_end_is_nothing_to_rehearse(head):
    assert value(Rehearsal()(head, torch.randn(4, 7), torch.randn(4, 2), ~ALL)) == 0


def test_the_oldest_are_forgotten(head, monkeypatch):
    monkeypatch.setattr(Rehearsal, "KEPT", 8)
    again, read = Rehearsal(), torch.randn(4, 7)
    near = poses(head, read).detach()
    again(head, read, near + 100, ALL)
    again(head, read, near, ALL)
    assert value(again(head, read, near, ALL)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rehearses", [False, True])
def test_small_batches_are_enough_where_they_are_rehearsed(rehearses):
    """A head that sees four samples a step learns a map of which they tell little."""
    torch.manual_seed(0)
    head = GoalHead(text_dim=2, state_dim=8, action_dim=2, width=4, max_views=1, landmarks=1, dropout=0.0)
    again, mix = Rehearsal(), torch.randn(12, 2) / 3
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(150):
        read = torch.randn(4, 12)
        loss = head.loss(poses(head, read), read @ mix).mean()
        if rehearses:
            loss = loss + again(head, read, read @ mix, ALL)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    read = torch.randn(500, 12)
    error = (poses(head, read) - read @ mix).detach().abs().mean() / (read @ mix).abs().mean()
    assert bool(error < 0.1) is rehearses, float(error)


def test_towers_and_eye_learn_from_the_batch_alone(make_policy, make_train_batch, monkeypatch):
    grads = {}
    for weight in (0.0, 4.0):
        monkeypatch.setattr(Rehearsal, "WEIGHT", weight)
        policy = make_policy().train()
        torch.manual_seed(0)
        policy(make_train_batch(policy.config, valid=[3, 5, 4, 2]))[0].backward()
        grads[weight] = {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}
    moved = {name for name, grad in grads[0.0].items() if not torch.equal(grad, grads[4.0][name])}
    assert moved and all(name.startswith("model.goal_head.") for name in moved)
    assert not any("to_features" in name for name in moved)


def test_only_training_rehearses(make_policy, make_train_batch, monkeypatch):
    policy = make_policy().eval()
    batch = make_train_batch(policy.config, valid=[3, 5, 4, 2])
    torch.manual_seed(0)
    loss = policy(batch)[0]
    monkeypatch.setattr(Rehearsal, "WEIGHT", 1e6)
    torch.manual_seed(0)
    assert torch.equal(policy(batch)[0], loss)
