# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Graphs without breaks at inference, and blocks computed twice in training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import random_event, tiny_model
from torch.utils.checkpoint import checkpoint

from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.model.sampling import plan
from lerobot_wallwm.policies.towers import action_tower, video_tower


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def inference_inputs(model, latents: int):
    event = random_event()
    z = model.encode(torch.cat((event.keyframes[:, :, None], event.future), dim=2))[:, :, :, :latents]
    t = torch.rand(4, 1).expand(-1, latents).clone()
    t[:, 0] = 0
    return event, z, t, model.text_encoder(event.captions)


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_both_towers_compile_to_one_graph_at_inference(masked):
    model = tiny_model()
    event, z, t, text = inference_inputs(model, 3)
    valid = model.latent_valid(event.frame_valid) if masked else None

    def towers(z, t, text, actions, noise_level, state, action_valid):
        landmarks = model.find_landmarks(event.keyframes, text, None)
        features = model.video(z, t, text, valid, landmarks_BVKD=landmarks)
        kv = model.action.read_video(features.layers)
        out = model.action(actions, noise_level, state, action_valid, kv, valid, model.tokens_per_latent, 2)
        return features.prediction, *out

    inputs = (z, t, text, event.actions, torch.rand(4), event.state, event.action_valid)
    compiled = torch.compile(towers, fullgraph=True, backend="aot_eager")
    for a, b in zip(compiled(*inputs), towers(*inputs), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("imagination", ["none", pytest.param("anchor", marks=pytest.mark.slow)])
def test_predict_action_chunk_runs_compiled(make_policy, make_observation, imagination):
    policy = make_policy(imagination=imagination)
    batch = make_observation(["reach for the red cube"])
    expected = policy.predict_action_chunk(batch)
    policy.reset()
    compiled = torch.compile(policy.predict_action_chunk, backend="eager")  # as `lerobot-rollout` does
    torch.testing.assert_close(compiled(batch), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("packing", [False, True])
def test_checkpointed_blocks_give_the_same_losses_and_gradients(packing, monkeypatch):
    model = tiny_model(future_fraction=0.5, packing=packing)
    event = random_event()
    event = replace(event, future=event.future[:2])
    calls = []
    for tower in (video_tower, action_tower):
        monkeypatch.setattr(
            tower, "checkpoint", lambda *args, **kwargs: calls.append(args[0]) or checkpoint(*args, **kwargs)
        )
    results = []
    for recompute in (False, True):
        model.video.gradient_checkpointing = model.action.gradient_checkpointing = recompute
        model.zero_grad()
        torch.manual_seed(0)
        losses = objectives.losses(model, event)
        (losses.action.mean() + losses.video.mean() + losses.remaining.mean()).backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([losses.action, losses.video, losses.remaining, *gradients])
        passes = 1 if packing else 2
        assert len(calls) == (passes * 2 * model.shape.video.depth if recompute else 0)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_the_shape_turns_checkpointing_on():
    model = tiny_model(gradient_checkpointing=True)
    assert model.video.gradient_checkpointing and model.action.gradient_checkpointing


def test_fsdp_finds_the_classes_it_is_told_to_wrap(make_policy):
    policy = make_policy()
    found = {type(module).__name__ for module in policy.modules()}
    assert set(policy._fsdp_wrap_modules) <= found
    wrapped = [m for m in policy.modules() if type(m).__name__ in policy._fsdp_wrap_modules]
    assert len(wrapped) == 2 * policy.config.video_depth


@pytest.mark.parametrize("packing", [False, True])
def test_what_a_wrapped_block_computes_it_computes_in_its_forward(packing):
    model = tiny_model(future_fraction=0.5, packing=packing)
    inside: list[torch.nn.Module] = []
    for block in (*model.video.blocks, *model.action.blocks):

        def within(_, __, block=block):
            assert block in inside, "FSDP gathers the weights of a block for its forward only"

        block.register_forward_pre_hook(lambda block, _: inside.append(block))
        block.register_forward_hook(lambda block, *_: inside.remove(block))
        for part in block.modules():
            if part is not block and any(True for _ in part.parameters(recurse=False)):
                part.register_forward_pre_hook(within)
    event = random_event()
    objectives.losses(model, replace(event, future=event.future[:2])).action.mean().backward()
    for imagination in ("none", "anchor", "full"):
        plan(model, event.keyframes, event.state, event.captions, event.here, imagination, num_steps=2)
