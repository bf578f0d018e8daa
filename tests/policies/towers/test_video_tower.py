# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from tiny_models import WAN, random_event, shake, tiny_model

from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.towers.attention import rope_tables
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower

GRID = (2, 3)
TOKENS = GRID[0] * GRID[1]


def tower(
    max_views: int = 3, shaken: bool = True, open_gates: bool = False, seed: int = 0
) -> MultiViewVideoTower:
    torch.manual_seed(seed)
    model = MultiViewVideoTower(WAN, max_views, GRID, open_gates=open_gates)
    if shaken:
        shake(model, 0.3, seed)
    return model.eval()


def inputs(views: int, batch: int = 2, time: int = 3, seed: int = 0):
    """Latents, noise levels with a clean slot 0, text."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, views, WAN.latent_channels, time, 2 * GRID[0], 2 * GRID[1], generator=g)
    t = torch.rand(batch, 1, generator=g).expand(-1, time).clone()
    t[:, 0] = 0
    return z, t, torch.randn(batch, 5, WAN.text_dim, generator=g)


def wan_with_weights_of(model: MultiViewVideoTower) -> WanTransformer3DModel:
    """diffusers' own model, every parameter of which is loaded from the tower by its own key."""
    wan = WanTransformer3DModel(**WAN.wan_kwargs()).eval()
    wan.load_state_dict({key: model.state_dict()[key] for key in wan.state_dict()}, strict=True)
    return wan


@torch.no_grad()
def run_wan(wan: WanTransformer3DModel, z_BCTHW, t_BT, text) -> torch.Tensor:
    per_token = (t_BT * 1000.0).repeat_interleave(TOKENS, 1)  # Wan2.2-TI2V: one timestep a token
    return wan(z_BCTHW, per_token, text, return_dict=False)[0]


@torch.no_grad()
def test_one_view_equals_diffusers_wan():
    model = tower()
    model.position.zero_()
    z, t, text = inputs(views=1)
    expected = run_wan(wan_with_weights_of(model), z[:, 0], t, text)
    torch.testing.assert_close(model(z, t, text).prediction[:, 0], expected, atol=2e-5, rtol=1e-4)
    assert expected.std() > 0.1  # the comparison is not one of zeros


@torch.no_grad()
def test_one_view_without_open_gates_starts_as_wan_starts():
    model = tower(shaken=False)
    z, t, text = inputs(views=1)
    expected = run_wan(wan_with_weights_of(model), z[:, 0], t, text)
    torch.testing.assert_close(model(z, t, text).prediction[:, 0], expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_views_are_independent_wans_while_the_projections_are_zero():
    model = tower()
    model.position.zero_()
    for block in model.blocks:
        block.cross_view.project.weight.zero_()
    z, t, text = inputs(views=3)
    prediction, wan = model(z, t, text).prediction, wan_with_weights_of(model)
    for view in range(3):
        expected = run_wan(wan, z[:, view], t, text)
        torch.testing.assert_close(prediction[:, view], expected, atol=2e-5, rtol=1e-4)


def test_branch_starts_as_a_copy_of_the_within_view_attention_behind_a_zero_projection():
    model = tower(shaken=False)
    for block in model.blocks:
        own, branch = block.attn1.state_dict(), block.cross_view.attention.state_dict()
        assert own.keys() == branch.keys()
        assert all(torch.equal(own[key], branch[key]) for key in own)
        assert not block.cross_view.project.weight.any()
        assert torch.equal(block.cross_view.gate_table, block.scale_shift_table[:, 2])
        # A copy, not the same tensors: the two must learn apart.
        assert block.attn1.to_q.weight.data_ptr() != block.cross_view.attention.to_q.weight.data_ptr()


def layer_change(model, position: tuple[int, int, int], layer: int) -> torch.Tensor:
    """Where the features after a layer change ``(V, T, N)`` if one latent pixel at ``(view, time, column)`` does."""
    z, t, text = inputs(views=3, batch=1)
    view, time, column = position
    changed = z.clone()
    changed[0, view, :, time, 0, column] += 3.0
    with torch.no_grad():
        before, after = (model(x, t, text).layers[layer] for x in (z, changed))
    return (before - after).abs().amax(-1)[0] > 1e-6


def test_views_influence_each_other_only_through_the_branch():
    model = tower()
    assert layer_change(model, (1, 1, 0), layer=-1).any(dim=(1, 2)).all()
    for block in model.blocks:
        block.cross_view.project.weight.data.zero_()
    assert layer_change(model, (1, 1, 0), layer=-1).any(dim=(1, 2)).tolist() == [False, True, False]


def test_branch_links_tokens_of_the_same_latent_frame_only():
    model = tower()
    first = model.blocks[0]
    # Without the within-view update a change can leave its latent frame by no other way.
    first.attn1.to_out[0].weight.data.zero_()
    first.attn1.to_out[0].bias.data.zero_()
    change = layer_change(model, (1, 2, 0), layer=0)
    assert change.any(dim=2).tolist() == [[False, False, True]] * 3
    assert change[:, 2].all()


def test_sight_mask_decides_which_tokens_of_other_views_are_seen():
    model = tower()
    first = model.blocks[0]
    first.attn1.to_out[0].weight.data.zero_()
    first.attn1.to_out[0].bias.data.zero_()
    z, t, text = inputs(views=3, batch=2)
    view = torch.arange(3).repeat_interleave(TOKENS)
    sight = (view[:, None] == view[None, :]).expand(2, 3, -1, -1).clone()
    # In the second sample's last latent frame, token 2 of view 0 may see token 1 of view 1.
    sight[1, 2, 2, TOKENS + 1] = True
    changed = z.clone()
    changed[:, 1] += 1.0
    with torch.no_grad():
        before, after = (model(x, t, text, sight_BTSS=sight).layers[0] for x in (z, changed))
    moved = (before - after).abs().amax(-1) > 1e-6  # (B, V, T, N)
    assert moved[:, 1].all()
    moved[:, 1] = False
    assert moved.nonzero().tolist() == [[1, 0, 2, 2]]
    everything = torch.ones_like(sight)
    with torch.no_grad():
        torch.testing.assert_close(model(z, t, text, sight_BTSS=everything).layers, model(z, t, text).layers)


@torch.no_grad()
def test_branch_equals_a_loop_over_latent_frames():
    model = tower()
    branch = model.blocks[0].cross_view
    batch, views, time, width = 2, 3, 4, WAN.width
    x = torch.randn(batch * views, time, TOKENS, width)
    gate = torch.randn(batch * views, time, 1, width)
    rope = model.rope(torch.zeros(1, 1, time, 2 * GRID[0], 2 * GRID[1]))
    view_rope = model.camera_rope(rope, torch.arange(views), TOKENS)

    expected = torch.empty_like(x)
    for b in range(batch):
        for f in range(time):
            rows = [b * views + v for v in range(views)]
            together = torch.cat([x[row, f] for row in rows])[None]  # (1, V N, D)
            out = branch.project(branch.attention(together, None, None, view_rope))[0]
            for v, row in enumerate(rows):
                part = out[v * TOKENS : (v + 1) * TOKENS]
                expected[row, f] = part * (branch.gate_table + gate[row, f])
    tables = rope_tables(*view_rope)
    torch.testing.assert_close(branch(x, gate, views, tables), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_masked_latent_frames_never_change_valid_ones():
    model = tower()
    z, t, text = inputs(views=2, time=4)
    valid = torch.tensor([[True, True, False, False], [True, True, True, False]])
    garbage = torch.where(valid[:, None, None, :, None, None], z, torch.full_like(z, 50.0))
    clean, dirty = (model(x, t, text, valid) for x in (z, garbage))
    pairs = [*zip(clean.layers, dirty.layers, strict=True)]
    pairs.append((clean.prediction.transpose(2, 3), dirty.prediction.transpose(2, 3)))
    for a, b in pairs:
        keep = valid[:, None].expand(-1, 2, -1)
        torch.testing.assert_close(a[keep], b[keep], atol=1e-6, rtol=1e-5)
        assert torch.isfinite(b).all()
    # Without the mask they would have.
    assert not torch.allclose(
        model(z, t, text).layers[-1][0, :, 0], model(garbage, t, text).layers[-1][0, :, 0]
    )


@torch.no_grad()
def test_masking_frames_equals_leaving_them_out():
    model = tower()
    z, t, text = inputs(views=2, time=4)
    valid = torch.tensor([[True, True, False, False]] * 2)
    masked, short = model(z, t, text, valid), model(z[:, :, :, :2], t[:, :2], text)
    torch.testing.assert_close(masked.prediction[:, :, :, :2], short.prediction, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_text_noise_level_and_camera_reach_the_features():
    model = tower()
    z, t, text = inputs(views=2)
    base = model(z, t, text).layers[-1]
    assert not torch.allclose(base, model(z, t, text + 1).layers[-1], atol=1e-3)
    later = t.clone()
    later[:, 1:] += 0.2
    assert not torch.allclose(base, model(z, later, text).layers[-1], atol=1e-3)
    swapped = model(z.flip(1), t, text).layers[-1].flip(1)
    assert not torch.allclose(base, swapped, atol=1e-3)  # the tower knows which camera is which


def test_samples_of_a_batch_do_not_mix():
    model = tower()
    z, t, text = inputs(views=2, batch=3)
    with torch.no_grad():
        together = model(z, t, text).prediction
        alone = torch.cat([model(z[i : i + 1], t[i : i + 1], text[i : i + 1]).prediction for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_prediction_is_made_only_where_asked_for():
    model = tower()
    z, t, text = inputs(views=2)
    features = model(z, t, text, predict=False)
    assert features.prediction is None
    assert [tuple(layer.shape) for layer in features.layers] == [(2, 2, 3, TOKENS, WAN.width)] * WAN.depth
    assert model(z, t, text).prediction.shape == z.shape


def test_open_gates_start_at_one():
    model = tower(shaken=False, open_gates=True)
    for block in model.blocks:
        assert torch.equal(block.scale_shift_table[:, [2, 5]], torch.ones(1, 2, WAN.width))
        assert not block.scale_shift_table[:, [0, 1, 3, 4]].any()
        assert torch.equal(block.cross_view.gate_table, torch.ones(1, WAN.width))
    assert model.position.std() > 0.05


def test_too_many_views_and_a_wrong_grid_are_errors():
    model = tower(max_views=2)
    z, t, text = inputs(views=3)
    with pytest.raises(ValueError, match="3 camera views exceed the table of 2; raise --policy.max_views"):
        model(z, t, text)
    with pytest.raises(ValueError, match=r"token grid of \(2, 2\), the tower was built for \(2, 3\)"):
        model(z[:, :2, ..., :4], t, text)


@pytest.mark.parametrize("shape", [replace(WAN, heads=5), WanShape(30, 1, 2, 8, 4, 8)])
def test_heads_that_do_not_fit_are_an_error(shape):
    with pytest.raises(ValueError, match="must split into"):
        shape.wan_kwargs()


@torch.no_grad()
def test_every_view_has_positions_of_its_own():
    model = tower()
    z, t, text = inputs(views=3)
    model.blocks[0].attn1.to_out[0].weight.zero_()
    model.blocks[0].attn1.to_out[0].bias.zero_()
    model.blocks[0].cross_view.project.weight.zero_()
    before = model(z, t, text, predict=False).layers[0]
    # Nothing mixes tokens now: a row of the table must move its own view's token and no other.
    model.position[1, 1, 2] += torch.randn(WAN.width, generator=torch.Generator().manual_seed(2))
    moved = (model(z, t, text, predict=False).layers[0] - before).abs().amax(-1) > 1e-5  # (B, V, T, N)
    index = moved.nonzero()
    assert (
        len(index) == 2 * 3 and index[:, 1].unique().tolist() == [1] and index[:, 3].unique().tolist() == [5]
    )


def test_every_parameter_learns():
    model = tiny_model(future_fraction=0.5).train()
    event = random_event()
    out = objectives.losses(model, replace(event, future=event.future[:2]))
    (out.action.mean() + out.video.mean() + out.remaining.mean() + out.goal.mean()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
