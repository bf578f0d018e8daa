# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What views know of each other under cross, tile and none, in the tower, in training and at inference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from tiny_arm import CAMERAS
from tiny_models import WAN, random_event, shake, tiny_model

from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower
from lerobot_wallwm.policies.towers.view_fusion import build_video_tower

GRID = (2, 3)
FUSIONS = ("cross", "tile", "none")


def tower(fusion: str, max_views: int = 3) -> MultiViewVideoTower:
    torch.manual_seed(0)
    model = build_video_tower(fusion, WAN, max_views, GRID)
    shake(model, 0.3)
    return model.eval()


def inputs(views: int, batch: int = 2, time: int = 3):
    g = torch.Generator().manual_seed(0)
    z = torch.randn(batch, views, WAN.latent_channels, time, 2 * GRID[0], 2 * GRID[1], generator=g)
    t = torch.rand(batch, 1, generator=g).expand(-1, time).clone()
    t[:, 0] = 0
    return z, t, torch.randn(batch, 5, WAN.text_dim, generator=g)


def wan_of(model: MultiViewVideoTower) -> WanTransformer3DModel:
    """diffusers' own model with the tower's weights; strict, so that none of it is missing."""
    wan = WanTransformer3DModel(**WAN.wan_kwargs()).eval()
    wan.load_state_dict({key: model.state_dict()[key] for key in wan.state_dict()}, strict=True)
    return wan


def run_wan(wan: WanTransformer3DModel, z_BCTHW, t_BT, text) -> torch.Tensor:
    tokens = z_BCTHW.shape[-1] * z_BCTHW.shape[-2] // WAN.patch**2
    return wan(z_BCTHW, (t_BT * 1000.0).repeat_interleave(tokens, 1), text, return_dict=False)[0]


@torch.no_grad()
def test_tile_equals_diffusers_wan_on_the_canvas():
    model = tower("tile")
    model.position.zero_()
    z, t, text = inputs(views=3)
    expected = run_wan(wan_of(model), torch.cat(list(z.unbind(1)), dim=-1), t, text)
    prediction = model(z, t, text).prediction
    torch.testing.assert_close(torch.cat(list(prediction.unbind(1)), -1), expected, atol=2e-5, rtol=1e-4)
    assert expected.std() > 0.1


@torch.no_grad()
def test_none_equals_diffusers_wan_on_each_view():
    model = tower("none")
    model.position.zero_()
    z, t, text = inputs(views=3)
    wan, prediction = wan_of(model), model(z, t, text).prediction
    for view in range(3):
        expected = run_wan(wan, z[:, view], t, text)
        torch.testing.assert_close(prediction[:, view], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("fusion", ["cross", "none"])
def test_gradients_at_the_zero_start_equal_diffusers_wan(fusion):
    model = tower(fusion)
    model.position.data.zero_()
    for block in model.blocks:
        if block.cross_view is not None:
            block.cross_view.project.weight.data.zero_()
    z, t, text = inputs(views=3)
    wan = wan_of(model)
    weight = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    (model(z, t, text).prediction * weight).mean().backward()
    expected = torch.stack([run_wan(wan, z[:, v], t, text) for v in range(3)], dim=1)
    (expected * weight).mean().backward()
    ours = dict(model.named_parameters())
    for name, parameter in wan.named_parameters():
        torch.testing.assert_close(ours[name].grad, parameter.grad, atol=1e-5, rtol=1e-3, msg=name)
    assert max(p.grad.abs().max() for p in wan.parameters()) > 1e-2
    if fusion == "cross":  # the branch is still closed, and its door already feels a pull
        assert all(block.cross_view.project.weight.grad.abs().max() > 0 for block in model.blocks)


@torch.no_grad()
@pytest.mark.parametrize(("fusion", "reaches"), [("cross", True), ("tile", True), ("none", False)])
def test_whether_a_view_changes_the_features_of_another(fusion, reaches):
    model = tower(fusion)
    z, t, text = inputs(views=3)
    changed = z.clone()
    changed[:, 1] += 1.0
    before, after = model(z, t, text), model(changed, t, text)
    pairs = [*zip(before.layers, after.layers, strict=True), (before.prediction, after.prediction)]
    for a, b in pairs:
        assert not torch.allclose(a[:, 1], b[:, 1], atol=1e-3)
        for other in (0, 2):
            assert torch.equal(a[:, other], b[:, other]) is not reaches


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_view_has_positions_of_its_own(fusion):
    model = tower(fusion)
    z, t, text = inputs(views=3)
    model.blocks[0].attn1.to_out[0].weight.zero_()
    model.blocks[0].attn1.to_out[0].bias.zero_()
    if fusion == "cross":
        model.blocks[0].cross_view.project.weight.zero_()
    before = model(z, t, text, predict=False).layers[0]
    # Nothing mixes tokens now: a row of the table must move its own view's token and no other.
    model.position[1, 1, 2] += torch.randn(WAN.width, generator=torch.Generator().manual_seed(2))
    moved = (model(z, t, text, predict=False).layers[0] - before).abs().amax(-1) > 1e-5  # (B, V, T, N)
    index = moved.nonzero()
    assert (
        len(index) == 2 * 3 and index[:, 1].unique().tolist() == [1] and index[:, 3].unique().tolist() == [5]
    )


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_shapes_are_the_same_for_all(fusion):
    model = tower(fusion)
    z, t, text = inputs(views=2)
    features = model(z, t, text)
    assert features.prediction.shape == z.shape
    assert [tuple(layer.shape) for layer in features.layers] == [(2, 2, 3, 6, WAN.width)] * WAN.depth
    assert model(z, t, text, predict=False).prediction is None
    with pytest.raises(ValueError, match="4 camera views exceed the table of 3; raise --policy.max_views"):
        model(inputs(views=4)[0], t, text)


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_latent_frames_beyond_the_end_never_change_valid_ones(fusion):
    model = tower(fusion)
    z, t, text = inputs(views=2)
    valid = torch.tensor([[True, True, False], [True, True, True]])
    garbage = torch.where(valid[:, None, None, :, None, None], z, torch.full_like(z, 50.0))
    clean, dirty = (model(x, t, text, valid).layers[-1] for x in (z, garbage))
    keep = valid[:, None].expand(-1, 2, -1)
    torch.testing.assert_close(clean[keep], dirty[keep], atol=1e-6, rtol=1e-5)


def test_tile_and_none_have_equal_parameters_and_cross_has_the_branch_besides():
    shapes = {f: {k: v.shape for k, v in tower(f).state_dict().items()} for f in FUSIONS}
    assert shapes["tile"] == shapes["none"]
    extra = set(shapes["cross"]) - set(shapes["none"])
    assert all("cross_view" in key or "camera_rope" in key for key in extra)
    matrices = [
        shapes["cross"][key].numel() for key in extra if "blocks." in key and len(shapes["cross"][key]) == 2
    ]
    assert sum(matrices) == WAN.depth * (5 * WAN.width**2 + WAN.width)  # with the gate's table, (1, W)


def test_a_wider_feed_forward_makes_up_for_the_branch():
    shape = replace(WAN, width=96, ffn_width=288)
    cross = build_video_tower("cross", shape, 2, GRID)
    tile = build_video_tower("tile", replace(shape, ffn_width=288 + 5 * 96 // 2), 2, GRID)
    counts = [sum(p.numel() for p in model.parameters()) for model in (cross, tile)]
    assert counts[1] == pytest.approx(counts[0], rel=0.01)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_parameter_learns(fusion):
    model = tiny_model(future_fraction=0.5, view_fusion=fusion).train()
    event = random_event()
    out = objectives.losses(model, replace(event, future=event.future[:2]))
    (out.action.mean() + out.video.mean() + out.remaining.mean() + out.goal.mean()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_a_policy_trains_imagines_and_acts(
    make_policy, make_train_batch, make_observation, fusion, imagination
):
    fields = {"view_fusion": fusion, "imagination": imagination, "save_predicted_video": True}
    policy = make_policy(**fields, seam_acceleration=0.0)  # a seam begins alike, whatever is seen
    loss, _ = policy(make_train_batch(policy.config))
    assert torch.isfinite(loss)
    observation = make_observation(["reach for the red cube"])
    action = policy.select_action(observation)
    assert action.shape == (1, 6) and torch.isfinite(action).all()
    video = policy.decode_predicted_latents(policy.last_predicted_latents)
    assert video.shape == (9, 32, 64, 3)
    policy.reset()
    assert torch.equal(policy.select_action(observation), action)
    # The action tower reads every camera, whatever the video tower does.
    for key in CAMERAS:
        policy.reset()
        other = {**observation, key: 1 - observation[key]}
        assert not torch.equal(policy.select_action(other), action)


@pytest.mark.parametrize("fusion", ["tile", "none"])
def test_sight_cones_without_cross_view_attention_are_an_error(make_config, fusion):
    with pytest.raises(ValueError, match=f"--policy.view_fusion={fusion} does not have"):
        make_config(view_fusion=fusion, calibration="arm.json")


def test_a_canvas_refuses_a_sight_mask():
    z, t, text = inputs(views=2)
    with pytest.raises(ValueError, match="sight cones mask cross-view attention"):
        tower("tile")(z, t, text, sight_BTSS=torch.ones(2, 3, 12, 12, dtype=torch.bool))
