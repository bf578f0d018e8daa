# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The observation-centred window, compared with the paper's figure walked through step by step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from recordings import Recording
from tiny_arm import CAMERAS

from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.camera_stack import CameraStack
from lerobot_wallwm.policies.batches.chunk_reader import ChunkReader
from lerobot_wallwm.policies.towers.history import tau_of_steps

sizes = st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3))  # M, N, stride


def latent_groups(history: int, future: int, per_latent: int) -> list[list[int]]:
    """Pose steps of each latent slot: the leading one stands for a single frame, every other for a group."""
    step = -history * per_latent
    groups = [[step]]
    for _ in range(history + future):
        groups.append(list(range(step + 1, step + 1 + per_latent)))
        step += per_latent
    return groups


def test_the_papers_figure():
    # Fig. 5: boxes 1, 4, 4, 4, 4; the observation is the last of the second.
    assert latent_groups(1, 3, 4) == [[-4], [-3, -2, -1, 0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


@given(sizes)
def test_tau_counts_latents_from_the_anchor(size):
    history, future, stride = size
    for slot, group in enumerate(latent_groups(history, future, 4 * stride)):
        assert tau_of_steps(torch.tensor(group), 4 * stride).tolist() == [slot - history] * len(group)


@given(sizes, st.integers(0, 30))
def test_the_window_is_the_figures(make_config, size, anchor):
    history, future, stride = size
    config = make_config(
        stage="next_chunk", history_latents=history, num_future_latents=future, video_stride=stride
    )
    groups = latent_groups(history, future, 4 * stride)
    # A latent's pictures are the steps of its group that are sampled.
    sampled = [step for group in groups for step in group if step % stride == 0]
    assert config.observation_delta_indices == sampled
    assert len(sampled) == 1 + 4 * history + 4 * future
    # The pose at step d is what the command before it asks for.
    steps = [step for group in groups for step in group]
    wanted = [step - 1 for step in steps if history or step > 0]
    assert config.action_delta_indices == wanted


@pytest.fixture(scope="module")
def read(make_config, tiny_stats):
    """Reads one window of a recording with a configuration of these sizes."""

    def window(recording, anchor, **fields):
        config = make_config(stage="next_chunk", **fields)
        space = ActionSpace(config.what, config.relative_mask())
        space.fit(tiny_stats, None)
        shapes = dict.fromkeys(CAMERAS, (3, 32, 32))
        images = CameraStack(shapes, CAMERAS, config.image_size)
        reader = ChunkReader(config, images, space, (4, 4), recording.meta())
        return space, reader(recording.window(config, [anchor]), 1)

    return window


@given(sizes, st.integers(0, 39), st.integers(0, 1))
def test_a_batch_is_read_as_the_reference_says(read, size, anchor, part):
    history, future, stride = size
    recording = Recording.random(40)
    per_latent = 4 * stride
    space, event = read(
        recording,
        anchor,
        history_latents=history,
        num_future_latents=future,
        video_stride=stride,
        chunk_steps=part * 3,
    )
    chunk = event.chunk
    half = (space.range_high - space.range_low) / 2
    absolute = (recording.actions + 1) * half + space.range_low
    state = recording.states[anchor]

    def pose(step: int) -> torch.Tensor:
        command = absolute[anchor + step - 1]
        return (command - state * space.relative - space.offset) / space.scale

    def picture(step: int) -> torch.Tensor:
        at = min(max(anchor + step, 0), len(recording) - 1)
        return torch.stack([frames[at] for frames in recording.frames.values()]) * 2 - 1

    steps = [d for group in latent_groups(history, future, per_latent) for d in group]
    for i, step in enumerate(d for d in steps if d <= 0):
        exists = step == 0 or anchor + step - 1 >= 0
        assert bool(chunk.given.valid[0, i]) == exists
        expected = pose(step) if exists and step < 0 else torch.zeros(6)
        torch.testing.assert_close(chunk.given.tokens[0, i], expected, atol=1e-5, rtol=1e-4)
    for i, step in enumerate(d for d in steps if d > 0):
        exists = anchor + step - 1 < len(recording)
        assert bool(event.action_valid[0, i]) == exists
        if exists:
            torch.testing.assert_close(event.actions[0, i], pose(step), atol=1e-5, rtol=1e-4)
    sampled = [d for d in steps if d % stride == 0]
    clip = torch.cat((chunk.past[0], event.keyframes[0][:, None], event.future[0]), dim=1)
    for i, step in enumerate(sampled):
        torch.testing.assert_close(clip[:, i], picture(step))
        assert bool(event.frame_valid[0, i]) == (0 <= anchor + step < len(recording))
    assert torch.equal(chunk.past_valid[0], event.frame_valid[0, : 4 * history])
    assert chunk.given.chunk.tolist() == [anchor // (part * 3 or future * per_latent)]
    assert torch.equal(event.state, space.encode_state(state[None]))


def test_a_latent_counts_if_any_of_its_pictures_was_taken(make_policy):
    model = make_policy(stage="next_chunk", history_latents=2, num_future_latents=1, video_stride=2).model
    for first in range(13):
        for last in range(first, 13):
            inside = (torch.arange(13) >= first) & (torch.arange(13) <= last)
            groups = latent_groups(2, 1, 4)
            expected = [any(bool(inside[d + 8]) for d in group) for group in groups]
            assert model.latent_valid(inside[None])[0].tolist() == expected


def test_states_of_the_past_and_future_are_no_inputs(make_policy):
    policy = make_policy(stage="next_chunk")
    batch = Recording.random(40).window(policy.config, [3, 20])
    moved = {**batch, "observation.state": batch["observation.state"].clone()}
    moved["observation.state"][:, :4] += 30
    moved["observation.state"][:, 5:] += 30
    losses = []
    for data in (batch, moved):
        torch.manual_seed(0)
        losses.append(policy(data)[0])
    assert torch.equal(*losses)
