# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import torch

from lerobot_wallwm.policies.towers.goal_head import GoalHead

WORDS, JOINTS = 4, 3


def sentences(head: GoalHead, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What is read and where it ends: one half of the sentences ends where the arm is, the other where a landmark lies."""
    places, state = torch.randn(count, head.coordinates), torch.randn(count, JOINTS) / 4
    stays = torch.rand(count, 1) < 0.5
    text = torch.where(stays, torch.eye(WORDS)[0], torch.eye(WORDS)[1])
    return torch.cat((places, text, state), 1), torch.where(stays, state, places[:, :JOINTS] / 4)


def learned(multiplies: bool) -> float:
    """Error after 300 steps, with the product of words with places and pose or with the network beside it alone."""
    torch.manual_seed(0)
    head = GoalHead(WORDS, JOINTS, JOINTS, width=8, max_views=2, landmarks=2, hidden=64, dropout=0.0)
    head.to_shift.requires_grad_(multiplies)  # it begins as zero
    optimizer = torch.optim.AdamW([p for p in head.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(300):
        read, goal = sentences(head, 64)
        loss = head.loss(head.pose(read)[0], goal).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    read, goal = sentences(head, 500)
    return float((head.pose(read)[0] - goal).detach().abs().mean())


def test_words_choose_between_pose_and_places_within_few_steps():
    assert learned(True) < 0.5 * learned(False)


def test_a_closed_slot_moves_no_goal():
    torch.manual_seed(0)
    head = GoalHead(WORDS, JOINTS, JOINTS, width=8, max_views=3, landmarks=2).eval()
    torch.nn.init.normal_(head.to_shift.weight)
    with torch.no_grad():
        head.close_slots(2, 3)
    places, state = torch.randn(5, 3, 2, 2), torch.randn(5, JOINTS)
    text, here = torch.randn(5, 2, WORDS), torch.zeros(5, JOINTS)
    other = places.clone()
    other[:, 2] += 1
    assert torch.equal(head(places, state, text, here).pose, head(other, state, text, here).pose)
    other[:, 1] += 1
    assert not torch.allclose(head(places, state, text, here).pose, head(other, state, text, here).pose)
