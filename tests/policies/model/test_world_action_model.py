# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny_models import SHAPE, random_event, tiny_model

from lerobot_wallwm.policies.model import flow_matching as fm, objectives, sampling


def losses(model, event, seed: int = 0):
    torch.manual_seed(seed)
    return objectives.losses(
        model, replace(event, future=event.future[: objectives.future_rows(model, len(event.captions))])
    )


def assert_same_losses(a, b, rows: slice = slice(None)) -> None:
    for name in a.__dataclass_fields__.keys() - {"language"}:
        torch.testing.assert_close(getattr(a, name)[rows], getattr(b, name)[rows], atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("future_fraction", [0.0, 0.5, 1.0])
def test_losses_ignore_padding(future_fraction):
    model = tiny_model(future_fraction=future_fraction)
    event = random_event(lengths=(8, 5, 3, 1))
    beyond = ~model.latent_valid(event.frame_valid)[:, 1:].repeat_interleave(4, 1)
    assert beyond.any() and (~event.action_valid).any()
    garbage = replace(
        event,
        future=torch.where(
            beyond[:, None, :, None, None, None], torch.full_like(event.future, 30.0), event.future
        ),
        actions=torch.where(
            event.action_valid[..., None], event.actions, torch.full_like(event.actions, -40.0)
        ),
    )
    clean, dirty = losses(model, event), losses(model, garbage)
    assert_same_losses(clean, dirty)
    assert torch.isfinite(dirty.action).all() and clean.action.min() > 0


@torch.no_grad()
def test_short_events_count_as_much_as_long_ones():
    # A loss divided by the padded length would shrink with the event.
    model = tiny_model(shaken=False, future_fraction=0.0)
    event = random_event(lengths=(8, 1) * 16)
    event.actions.fill_(2.0)
    action = losses(model, event).action
    # The untrained prediction is zero, so each loss is the mean of squared actions: four, whatever the length.
    torch.testing.assert_close(action, torch.full((32,), 4.0))


@torch.no_grad()
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_future_fraction_splits_the_batch(fraction):
    out = losses(tiny_model(future_fraction=fraction), random_event(lengths=(8, 8, 5, 2)))
    with_future = torch.arange(4) < math.ceil(fraction * 4)
    assert out.has_video.tolist() == with_future.tolist()
    assert out.has_remaining.tolist() == (~with_future).tolist()
    assert torch.equal(out.video > 0, with_future) and torch.equal(out.remaining > 0, ~with_future)
    assert out.action.shape == (4,) and bool((out.action > 0).all())


@torch.no_grad()
def test_an_event_that_ends_at_its_keyframe_carries_no_video_loss():
    out = losses(tiny_model(future_fraction=1.0), random_event(lengths=(8, 1)))
    assert out.has_video.tolist() == [True, False] and out.video[1] == 0


@torch.no_grad()
def test_keyframe_only_samples_never_see_the_future():
    model, event = tiny_model(future_fraction=0.5), random_event()
    changed = replace(event, future=event.future + 5.0)
    a, b = losses(model, event), losses(model, changed)
    assert_same_losses(a, b, slice(2, 4))
    assert not torch.allclose(a.video[:2], b.video[:2])


@torch.no_grad()
def test_losses_depend_on_caption_state_and_keyframe():
    model, event = tiny_model(future_fraction=0.5), random_event()
    base = losses(model, event)
    for change in (
        {"captions": ["open it"] * 4},
        {"state": event.state + 1},
        {"keyframes": -event.keyframes},
    ):
        other = losses(model, replace(event, **change))
        assert not torch.allclose(base.action, other.action, rtol=1e-4)


def test_every_parameter_learns_from_the_joint_loss():
    model = tiny_model(future_fraction=0.5).train()
    out = losses(model, random_event())
    (
        out.action.mean()
        + fm.masked_mean(out.video, out.has_video)
        + fm.masked_mean(out.remaining, out.has_remaining)
    ).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_overfits_one_batch():
    model = tiny_model(shaken=False, future_fraction=0.5, action_draws=4).train()
    event = random_event(lengths=(8, 8, 6, 3))
    event.actions.mul_(2)
    # A scene that slowly changes its colour: what so small a model can memorise, other than noise.
    colour = torch.tensor([[0.1, -0.3, 0.5], [0.4, 0.2, -0.2]]).repeat(2, 1)[:, None, None, :, None, None]
    ramp = torch.linspace(0, 1, 9)[:, None, None, None]
    frames = (colour * (1 - 2 * ramp)).expand(-1, 2, -1, -1, 16, 16)
    event.keyframes, event.future = frames[:, :, 0].clone(), frames[:, :, 1:].clone()
    for name in ("keyframes", "future", "frame_valid", "state", "actions", "action_valid", "remaining"):
        half = getattr(event, name)[:2]
        setattr(event, name, torch.cat((half, half)))  # the same windows with and without their future
    event.captions = event.captions[:2] * 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)

    def joint(seed: int):
        out = losses(model, event, seed)
        return torch.stack(
            (out.action.mean(), fm.masked_mean(out.video, out.has_video), out.remaining.sum() / 2)
        )

    start = torch.stack([joint(1000 + s).detach() for s in range(8)]).mean(0)
    for step in range(250):
        optimizer.zero_grad()
        joint(step).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    end = torch.stack([joint(2000 + s).detach() for s in range(8)]).mean(0)
    assert bool((start > 20 * end).all()), f"action, video, remaining: {start.tolist()} -> {end.tolist()}"

    model.eval()
    plan = sampling.plan(
        model,
        event.keyframes[:2],
        event.state[:2],
        event.captions[:2],
        event.here[:2],
        "none",
        8,
        torch.Generator().manual_seed(0),
    )
    assert plan.length.tolist() == [8, 8]
    error = (plan.actions - event.actions[:2]).square().mean()
    assert error < 0.05 * event.actions[:2].square().mean(), float(error)


def test_both_towers_train_at_the_same_step_of_their_schedules():
    model, seen = tiny_model(future_fraction=1.0, anchored_fraction=0.0), {}
    model.video.register_forward_pre_hook(lambda _, args: seen.update(video=args[1][:, 1]))
    model.action.register_forward_pre_hook(lambda _, args: seen.update(action=args[1]))
    losses(model, random_event())
    per_draw = seen["action"].view(4, SHAPE.stage.action_draws)
    assert torch.equal(per_draw, per_draw[:, :1].expand_as(per_draw))
    # At inference step j both have u = 1 - j / N; only the video's level is shifted.
    torch.testing.assert_close(fm.shift_noise_level(per_draw[:, 0], SHAPE.video_shift), seen["video"])


def test_anchored_samples_hold_the_video_at_the_anchor(monkeypatch):
    monkeypatch.setattr(fm, "ANCHOR_JITTER", 0.0)
    model, seen = tiny_model(future_fraction=1.0, anchored_fraction=1.0), {}
    model.video.register_forward_pre_hook(lambda _, args: seen.update(video=args[1]))
    model.action.register_forward_pre_hook(lambda _, args: seen.update(action=args[1]))
    losses(model, random_event())
    torch.testing.assert_close(seen["video"][:, 1:], torch.full((4, 2), 0.35714))
    assert torch.equal(seen["video"][:, 0], torch.zeros(4))  # the keyframe is clean
    assert len(set(seen["action"].tolist())) == 4 * SHAPE.stage.action_draws


# ---------------------------------------------------------------------- inference


@pytest.mark.parametrize("num_steps", [1, 4, 8, 10, 50])
def test_actions_read_the_video_at_the_level_it_was_trained_at(num_steps):
    model, levels = tiny_model(), []
    model.video.register_forward_pre_hook(lambda _, args: levels.append(float(args[1][0, -1])))
    run_plan(model, "anchor", num_steps=num_steps, length=torch.full((4,), 8))
    assert levels[-1] == pytest.approx(fm.anchor_noise_level(SHAPE.video_shift), abs=1e-6)
    assert levels[1] == pytest.approx(1.0) and levels[1:] == sorted(levels[1:], reverse=True)


def run_plan(model, imagination: str, seed: int = 0, **kwargs):
    event = random_event()
    return sampling.plan(
        model,
        kwargs.pop("keyframes", event.keyframes),
        kwargs.pop("state", event.state),
        kwargs.pop("captions", event.captions),
        event.here,
        imagination=imagination,
        num_steps=kwargs.pop("num_steps", 4),
        generator=torch.Generator().manual_seed(seed),
        **kwargs,
    )


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_plan_is_finite_repeatable_and_of_the_stated_shapes(imagination):
    model = tiny_model()
    plan, again, other = (
        run_plan(model, imagination),
        run_plan(model, imagination),
        run_plan(model, imagination, seed=1),
    )
    assert plan.actions.shape == (4, SHAPE.horizon, SHAPE.action_dim)
    assert plan.length.shape == plan.remaining.shape == (4,)
    assert (
        plan.length.dtype == torch.long
        and int(plan.length.min()) >= 1
        and int(plan.length.max()) <= SHAPE.horizon
    )
    assert bool((plan.remaining > 0).all())
    assert torch.isfinite(plan.actions).all()
    assert torch.equal(plan.actions, again.actions) and not torch.equal(plan.actions, other.actions)
    torch.testing.assert_close(plan.remaining, other.remaining)  # the event's length is not drawn
    if imagination == "none":
        assert plan.latents is None
    else:
        assert plan.latents.shape == (4, 2, SHAPE.video.latent_channels, 3, 4, 4)
        assert torch.isfinite(plan.latents).all() and torch.equal(plan.latents, again.latents)
        assert model.decode(plan.latents).shape == (4, 2, 9, 3, 16, 16)


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_plan_follows_caption_state_and_image(imagination):
    model, event = tiny_model(), random_event()
    length = torch.full((4,), 8)
    base = run_plan(model, imagination, length=length).actions
    for change in (
        {"captions": ["open it"] * 4},
        {"state": event.state + 1},
        {"keyframes": -event.keyframes},
    ):
        assert not torch.allclose(
            base, run_plan(model, imagination, length=length, **change).actions, atol=1e-4
        )


def test_a_given_length_replaces_the_predicted_one():
    model = tiny_model()
    predicted = run_plan(model, "none").length.tolist()
    plan = run_plan(model, "none", length=torch.tensor([3, 1, 99, 0]))
    assert plan.length.tolist() == [3, 1, SHAPE.horizon, predicted[3]]  # 0: as predicted
    torch.testing.assert_close(plan.remaining, run_plan(model, "none").remaining)


@pytest.mark.parametrize("imagination", ["anchor", "full"])
def test_imagined_video_starts_at_the_keyframe_and_holds_after_the_event(imagination):
    model, event = tiny_model(), random_event()
    plan = run_plan(model, imagination, length=torch.tensor([8, 8, 2, 1]))
    frames = model.decode(plan.latents)
    torch.testing.assert_close(frames[:, :, 0], event.keyframes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        plan.latents[2, :, :, 2], plan.latents[2, :, :, 1]
    )  # ends inside the first latent
    torch.testing.assert_close(plan.latents[3, :, :, 1], plan.latents[3, :, :, 0])  # ends before it
    assert not torch.allclose(plan.latents[0, :, :, 2], plan.latents[0, :, :, 1], atol=1e-3)


def test_untrained_model_imagines_that_nothing_moves():
    model, event = tiny_model(shaken=False), random_event()
    plan = run_plan(model, "full", length=torch.full((4,), 8))
    frames = model.decode(plan.latents)
    torch.testing.assert_close(frames, event.keyframes[:, :, None].expand_as(frames), atol=1e-4, rtol=1e-4)


def test_imagination_none_reads_the_keyframe_alone():
    model = tiny_model()
    calls = []
    model.video.register_forward_pre_hook(lambda _, args: calls.append(args[0].shape[3]))
    run_plan(model, "none")
    assert calls == [1]
    calls.clear()
    whole = torch.full((4,), SHAPE.horizon)
    run_plan(model, "anchor", num_steps=10, length=whole)
    assert calls == [1] + [3] * 10  # nine steps to s* (45 of 50), and the forward there
    calls.clear()
    run_plan(model, "full", num_steps=10, length=whole)
    assert calls == [1] + [3] * 10
    calls.clear()
    run_plan(model, "full", num_steps=10, length=torch.tensor([5, 2, 1, 4]))
    assert calls == [1] + [2] * 10  # nobody dreams beyond the longest event


def test_unknown_imagination_is_an_error():
    with pytest.raises(ValueError, match="imagination='some': choose none, anchor or full"):
        run_plan(tiny_model(), "some")


def test_image_size_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match=r"image_size=\(16, 20\) must be a multiple of 8"):
        tiny_model(image_size=(16, 20))


def test_latents_are_valid_if_their_first_frame_is():
    model = tiny_model()
    valid = torch.arange(9)[None] < torch.tensor([1, 2, 5, 6, 9])[:, None]
    assert model.latent_valid(valid).tolist() == [
        [True, False, False],
        [True, True, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]
