# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from tiny_arm import CAMERAS
from tiny_models import random_event, tiny_model

from lerobot_wallwm.policies.geometry.border_masks import (
    Box,
    inside_box,
    letterbox,
    valid_tokens,
    without_black_borders,
)
from lerobot_wallwm.policies.model import objectives

SIZE, GRID = (8, 12), (4, 6)


def reference_inside(frames, frame_valid) -> torch.Tensor:
    """Row by row and column by column, as one would say it."""
    batch, views, _, _, height, width = frames.shape
    inside = torch.ones(batch, views, height, width, dtype=torch.bool)
    for b in range(batch):
        for v in range(views):
            bright = (frames[b, v][frame_valid[b]] + 1) / 2 > 16 / 255  # (F, 3, H, W)
            # The lines of the picture, as rows and as columns; those left out are marked in `kept`.
            for lines, kept in ((bright.movedim(2, 0), inside[b, v]), (bright.movedim(3, 0), inside[b, v].T)):
                for edge in (range(len(lines)), reversed(range(len(lines)))):
                    for line in edge:
                        if lines[line].any():
                            break
                        kept[line] = False
    return inside


def reference_tokens(inside, grid) -> torch.Tensor:
    batch, views, height, width = inside.shape
    ph, pw = height // grid[0], width // grid[1]
    out = torch.ones(batch, views, *grid, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            out[:, :, y // ph, x // pw] &= inside[:, :, y, x]
    return out


@st.composite
def clips(draw):
    """Dark clips with a few bright spots, so that borders of every width come up, black rows inside included."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    frames = torch.rand(2, 2, 5, 3, *SIZE, generator=generator) * (15 / 255) * 2 - 1
    for _ in range(draw(st.integers(0, 6))):
        spot = [draw(st.integers(0, n - 1)) for n in frames.shape]
        frames[tuple(spot)] = 0.5
    ends = torch.tensor([draw(st.integers(1, 5)), draw(st.integers(1, 5))])
    return frames, torch.arange(5)[None] < ends[:, None]


@given(clips())
def test_recorded_borders_equal_the_reference(clip):
    frames, valid = clip
    inside = without_black_borders(frames, valid)
    assert torch.equal(inside, reference_inside(frames, valid))
    assert torch.equal(valid_tokens(inside, GRID), reference_tokens(inside, GRID))
    # Frames beyond the event decide nothing.
    garbage = torch.where(valid[:, None, :, None, None, None], frames, torch.ones_like(frames))
    assert torch.equal(without_black_borders(garbage, valid), inside)


def test_a_row_that_lights_up_once_is_no_border_and_a_dark_row_inside_neither():
    frames = torch.full((1, 1, 5, 3, *SIZE), -1.0)
    frames[..., 2:, :] = 0.0
    frames[0, 0, 3, 1, 1, 5] = 0.0  # row 1, in one frame, in one channel
    frames[..., 4, :] = -1.0
    inside = without_black_borders(frames, torch.ones(1, 5, dtype=torch.bool))[0, 0]
    assert inside.all(1).tolist() == [False] + [True] * 7


@given(st.integers(1, 700), st.integers(1, 700), st.integers(8, 96), st.integers(8, 96))
def test_a_letterbox_is_the_largest_centred_box_of_the_pictures_proportions(h, w, height, width):
    box = letterbox((h, w), (height, width))
    assert 1 <= box.height <= height and 1 <= box.width <= width
    assert box.height == height or box.width == width
    assert abs(box.top - (height - box.height - box.top)) <= 1
    assert abs(box.left - (width - box.width - box.left)) <= 1
    assert min(box.height, box.width) == 1 or abs(box.height * w - box.width * h) <= 0.5 * max(h, w) + 1e-6
    assert int(inside_box(box, (height, width)).sum()) == box.height * box.width
    assert Box(0, 0, height, width).covered((height, width)) == (0, 1, 0, 1)  # it fills the frame
    top, bottom, left, right = box.covered((height, width))
    assert bottom - top == pytest.approx(height / box.height)
    assert right - left == pytest.approx(width / box.width)
    assert top <= 0 and left <= 0 and bottom >= 1 - 1e-9 and right >= 1 - 1e-9


def video_loss(model, event, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return objectives.losses(model, event)


@torch.no_grad()
def test_without_borders_the_losses_are_the_same_to_the_bit():
    model, event = tiny_model(future_fraction=1.0), random_event()
    valid = torch.ones(4, 2, *model.video.grid, dtype=torch.bool)
    plain, masked = video_loss(model, event), video_loss(model, replace(event, token_valid=valid))
    for name in plain.__dataclass_fields__.keys() - {"language"}:
        assert torch.equal(getattr(plain, name), getattr(masked, name)), name


@torch.no_grad()
def test_what_lies_in_a_border_is_not_in_the_loss_and_the_rest_is_averaged():
    model, event = tiny_model(future_fraction=1.0, packing=False), random_event()
    valid = torch.rand(4, 2, *model.video.grid, generator=torch.Generator().manual_seed(0)) > 0.4
    valid[3] = False
    caught = {}
    original = model.codec.pixel_error

    def catch(prediction, target, weight):
        caught["error"] = prediction - target
        return original(prediction, target, weight)

    model.codec.pixel_error = catch
    out = video_loss(model, replace(event, token_valid=valid))
    squared = (caught["error"] / model.codec.scale[:, None, None, None]).square()
    patch = model.shape.video.patch
    latent_valid = model.latent_valid(event.frame_valid)[:, 1:]
    for b in range(3):
        kept = []
        for v, h, w in valid[b].nonzero().tolist():
            patch_error = squared[b, v, ..., h * patch : (h + 1) * patch, w * patch : (w + 1) * patch]
            kept.append(patch_error.mean(dim=(0, 2, 3)))  # (T - 1,)
        expected = torch.stack(kept).mean(0)[latent_valid[b]].mean() if latent_valid[b].any() else 0.0
        assert float(out.video[b]) == pytest.approx(float(expected), rel=1e-5)
    assert out.video[3] == 0 and not out.has_video[3] and out.has_video[0]


def test_a_policy_excludes_bars_that_it_adds_and_bars_that_were_recorded(make_policy, make_train_batch):
    # 16 x 32 pictures in a 64 x 64 frame of 4 x 4 tokens: bars of 16 rows above and below.
    flags = {"image_shape": (3, 16, 32), "image_size": (64, 64), "future_fraction": 1.0}
    policy = make_policy(resize="pad", **flags)
    batch = make_train_batch(policy.config)
    event = policy.windows_from_batch(batch)
    grid = policy.model.video.grid
    assert grid == (4, 4) and event.token_valid.shape == (4, 2, 4, 4)
    assert event.token_valid.all(-1).tolist() == [[[False, True, True, False]] * 2] * 4
    assert (event.keyframes[:, :, :, :16] == -1).all() and (event.keyframes[:, :, :, 48:] == -1).all()
    assert (event.keyframes[:, :, :, 16:48] > -1).any()
    # One camera's pictures were recorded with a bar of their own, 9 columns on the left: two tokens.
    batch[CAMERAS[1]][..., :9] = 0.0
    valid = policy.windows_from_batch(batch).token_valid
    assert torch.equal(valid[:, 0], event.token_valid[:, 0])
    seen = [False, False, True, True]
    assert valid[0, 1].tolist() == [[False] * 4, seen, seen, [False] * 4]
    stretched = make_policy(**flags).windows_from_batch(make_train_batch(policy.config))
    assert stretched.token_valid.all()


def test_a_padded_policy_trains_and_acts(make_policy, make_train_batch, make_observation):
    policy = make_policy(image_shape=(3, 24, 32), resize="pad")
    assert torch.isfinite(policy(make_train_batch(policy.config))[0])
    action = policy.select_action(make_observation(["reach for the red cube"], shape=(3, 24, 32)))
    assert torch.isfinite(action).all()
