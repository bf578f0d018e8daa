# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

from itertools import permutations

import pytest
import torch
from tiny_models import SHAPE, random_event, shake, tiny_model
from torch import nn

from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder
from lerobot_wallwm.policies.model import objectives, sampling
from lerobot_wallwm.policies.towers.goal_head import Goal, GoalHead
from lerobot_wallwm.policies.towers.landmarks import Landmarks, PlaceCode

COLOURS = {
    "red": (0.9, -0.8, -0.8),
    "green": (-0.8, 0.7, -0.8),
    "blue": (-0.8, -0.8, 0.9),
    "yellow": (0.9, 0.8, -0.8),
}


def places(look: Landmarks, frames: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """``(B, V, K, 2)`` in [-1, 1], read from the tokens."""
    return look.code.read(look(frames, text)) / PlaceCode.GAIN


def test_landmarks_are_expected_coordinates_of_the_maps():
    torch.manual_seed(0)
    look = Landmarks(8, 3, max_views=2, width=12, channels=5).eval()
    frames, text = torch.rand(2, 2, 3, 16, 24) * 2 - 1, torch.randn(2, 1, 8)
    points = places(look, frames, text)
    assert points.shape == (2, 2, 3, 2)
    # The plain reference: one picture, one landmark, one place at a time.
    query = look.to_queries(text[1, 0]).view(3, 5)[2]
    gelu = torch.nn.functional.gelu
    x = gelu(look.stem(torch.nn.functional.pixel_unshuffle(frames[1, 0][None], 4)))
    for mix in look.mix:
        x = x + gelu(mix(x))
    keys = look.to_keys(x)[0]
    scores = {}
    for row in range(4):
        for column in range(6):
            scores[row, column] = float((look.norm_keys(keys[:, row, column]) @ query).detach())
    total = sum(torch.tensor(score).exp() for score in scores.values())
    expected = torch.zeros(2)
    for (row, column), score in scores.items():
        share = torch.tensor(score).exp() / total
        expected += share * torch.tensor([column / 5 * 2 - 1, row / 3 * 2 - 1])
    torch.testing.assert_close(points[1, 0, 2], expected, atol=1e-5, rtol=1e-4)


def test_what_else_a_token_says_does_not_move_its_place():
    torch.manual_seed(0)
    code, points = PlaceCode(16), torch.rand(4, 3, 2) * 2 - 1
    plain, loud = (code.write(points, size * torch.randn(4, 3, 16)) for size in (0.0, 100.0))
    torch.testing.assert_close(code.read(plain), PlaceCode.GAIN * points)
    torch.testing.assert_close(code.read(loud), PlaceCode.GAIN * points, atol=1e-4, rtol=1e-4)
    assert (loud - plain).std() > 50, "the rest is there, in the other directions"


def test_moved_pictures_have_their_landmarks_moved_back():
    torch.manual_seed(0)
    look = Landmarks(8, 3, max_views=1, width=12)
    frames = torch.full((64, 1, 3, 48, 64), -0.5)
    frames[..., 16:32, 24:40] = torch.randn(3, 16, 16)  # far from the borders, which repeat
    moved, shift = look.move(frames[:, 0])
    blocks = shift * torch.tensor([64 - 4, 48 - 4]) / 2  # in pixels
    assert len(blocks.round().unique(dim=0)) > 20 and blocks.abs().max() <= 4
    for picture, (x, y) in zip(moved, blocks.round().int().tolist(), strict=True):
        torch.testing.assert_close(picture, frames[0, 0].roll((y, x), (1, 2)))
    # A map that always finds the square: moved back, training's landmarks agree with what an unmoved picture gives.
    with torch.no_grad():
        for parameter in look.parameters():
            parameter.zero_()
        look.stem.bias.fill_(1.0)
        text = torch.zeros(64, 1, 8)
        centre, back = places(look.eval(), frames, text), places(look.train(), frames, text)
    assert centre.abs().max() < 1e-5, "uniform maps point to the middle"
    assert 1e-3 < back.abs().max() < 8.1 / (48 - 4), "and the middle moves back by the shift"


class Reader(nn.Module):
    """Landmarks and goal head without the tower between, which is not what these tests are about."""

    def __init__(self, max_views: int, landmarks: int, **sizes: int):
        super().__init__()
        self.look = Landmarks(16, landmarks, max_views, width=24)
        self.head = GoalHead(16, width=8, max_views=max_views, landmarks=landmarks, **sizes)

    def forward(self, frames, state, text, here) -> Goal:
        return self.head(self.look.code.read(self.look(frames, text)), state, text, here)


def squares(count: int, pairs: list[tuple[str, str]], generator: torch.Generator):
    """Pictures with two coloured squares, a caption that names one, and where the named one is."""
    frames = (
        torch.full((count, 1, 3, 32, 32), -0.3) + torch.randn(count, 1, 3, 32, 32, generator=generator) * 0.05
    )
    captions, goals = [], torch.zeros(count, 2)
    for i in range(count):
        pair = pairs[int(torch.randint(len(pairs), (), generator=generator))]
        for name in reversed(pair):  # the named one last, so that it is never hidden
            row, column = torch.randint(0, 28, (2,), generator=generator).tolist()
            frames[i, 0, :, row : row + 5, column : column + 5] = torch.tensor(COLOURS[name])[:, None, None]
        captions.append(f"reach for the {pair[0]} cube")
        goals[i] = torch.tensor([column, row]) / 14 - 1
    return frames, captions, goals


def test_finds_what_the_caption_names_in_scenes_and_colour_pairs_it_has_not_seen():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    text = HashedTextEncoder(16, 8)
    reader = Reader(state_dim=2, action_dim=2, max_views=2, landmarks=4, hidden=64)
    parameters = [*text.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    left_out = [("green", "red"), ("yellow", "green"), ("red", "blue"), ("blue", "yellow")]
    seen = [pair for pair in permutations(COLOURS, 2) if pair not in left_out]
    for _ in range(350):
        frames, captions, goals = squares(32, seen, g)
        state = torch.zeros(32, 2)
        loss = (reader(frames, state, text(captions), state).pose - goals).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    reader.eval()
    with torch.no_grad():
        frames, captions, goals = squares(128, left_out, g)
        pose = reader(frames, torch.zeros(128, 2), text(captions), torch.zeros(128, 2)).pose
        flipped = [c.replace("red", "x").replace("green", "red").replace("x", "green") for c in captions]
        other = reader(frames, torch.zeros(128, 2), text(flipped), torch.zeros(128, 2)).pose
    error, prior = (pose - goals).abs().mean(), (goals - goals.mean(0)).abs().mean()
    assert error < 0.4 * prior, f"{float(error):.3f} of {float(prior):.3f}"
    assert (other - pose).abs().mean() > error


def test_an_end_is_absolute_and_the_way_there_is_not():
    torch.manual_seed(0)
    reader = Reader(state_dim=4, action_dim=3, max_views=2, landmarks=2).eval()
    frames, state, text = torch.rand(3, 2, 3, 16, 16), torch.randn(3, 4), torch.randn(3, 8, 16)
    at_zero, elsewhere = (reader(frames, state, text, here) for here in (torch.zeros(3, 3), torch.ones(3, 3)))
    torch.testing.assert_close(elsewhere.pose, at_zero.pose)
    torch.testing.assert_close(at_zero.way, at_zero.pose)
    torch.testing.assert_close(elsewhere.way, elsewhere.pose - 1)


def test_fewer_cameras_than_the_table_holds():
    torch.manual_seed(0)
    reader = Reader(state_dim=4, action_dim=3, max_views=3, landmarks=2)
    for views in (1, 2, 3):
        goal = reader(
            torch.rand(1, views, 3, 16, 16), torch.randn(1, 4), torch.randn(1, 8, 16), torch.zeros(1, 3)
        )
        assert goal.pose.shape == (1, 3) and goal.features.shape == (1, 8)


def test_unused_text_slots_do_not_count():
    torch.manual_seed(0)
    reader = Reader(state_dim=4, action_dim=3, max_views=1, landmarks=2).eval()
    frames, state, text, here = (
        torch.rand(1, 1, 3, 16, 16),
        torch.randn(1, 4),
        torch.randn(1, 4, 16),
        torch.zeros(1, 3),
    )
    longer = torch.cat((text, torch.zeros(1, 5, 16)), dim=1)
    torch.testing.assert_close(
        reader(frames, state, text, here).pose, reader(frames, state, longer, here).pose
    )


def test_an_unknown_goal_is_not_learned_from():
    model, event = tiny_model(), random_event()
    event.has_goal[1] = False
    torch.manual_seed(1)
    losses = objectives.losses(model, event)
    assert losses.has_goal.tolist() == [True, False, True, True]
    event.goal[1] += 100.0
    torch.manual_seed(1)
    again = objectives.losses(model, event)
    keep = losses.has_goal
    torch.testing.assert_close(losses.goal[keep], again.goal[keep])
    torch.testing.assert_close(losses.action, again.action)


def test_actions_follow_the_goal_and_a_model_without_landmarks_works_too():
    event = random_event()
    arguments = (event.keyframes, event.state, event.captions)
    model = tiny_model()
    plans = [
        sampling.plan(model, *arguments, here, num_steps=2, generator=torch.Generator().manual_seed(0))
        for here in (event.here, event.here + 1.0)
    ]
    assert not torch.allclose(plans[0].actions, plans[1].actions)
    with pytest.raises(ValueError, match="here"):
        sampling.plan(model, *arguments)
    without = tiny_model(landmarks=0)
    shake(without)
    plan = sampling.plan(without, *arguments, num_steps=2)
    assert plan.goal is None and torch.isfinite(plan.actions).all()
    losses = objectives.losses(without, event)
    assert torch.equal(losses.goal, torch.zeros(4)) and not losses.has_goal.any()
    assert SHAPE.landmarks > 0
