# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What each stage trains, on which losses, at which noise levels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from tiny_models import SHAPE, random_event, tiny_model

from lerobot_wallwm.policies.assembly.build import model_shape
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.model import flow_matching as fm, objectives, sampling
from lerobot_wallwm.policies.training.caption_drop import CaptionDrop
from lerobot_wallwm.policies.training.stages import LOSSES, PARTS, REASONED, REASONING, STAGES

TASK = "reach for the red cube"
# Those of the language half are in reasoning/test_language_half.py.
TOWERS = [name for name in STAGES if name not in REASONED]


def stage_model(stage: str, **changes):
    return tiny_model(**{"stage": STAGES[stage], **changes})


def losses(model, event, seed: int = 0):
    torch.manual_seed(seed)
    return objectives.losses(
        model, replace(event, future=event.future[: objectives.future_rows(model, len(event.captions))])
    )


@pytest.mark.parametrize("row", STAGES.values(), ids=lambda row: row.name)
def test_rows_name_known_parts_and_losses(row):
    assert row.trains <= {*PARTS, *REASONING} and row.losses <= set(LOSSES)
    assert ("video" in row.losses) <= ("video" in row.trains)
    # `unified` learns from actions through a tower that it leaves alone.
    assert ("action" in row.losses) == ("action" in row.trains or row.name == "unified")
    # Whoever learns the remaining time needs samples without their future.
    assert "remaining" not in row.losses or row.future_fraction < 1


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stage", TOWERS)
def test_a_stage_changes_the_parts_of_its_row_and_no_others(make_policy, make_train_batch, stage, optimizer):
    policy = make_policy(stage=stage, optimizer=optimizer, optimizer_lr=1e-2).train()
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    trained = policy.get_optim_params()
    given = {id(p) for group in trained for p in group["params"]}
    optimizer = policy.config.get_optimizer_preset().build(trained)
    for seed in range(3):
        torch.manual_seed(seed)
        policy(make_train_batch(policy.config, seed=seed))[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    parts = policy.model.parts()
    for name, module in parts.items():
        for key, parameter in module.named_parameters():
            of_events = key.startswith(("along.", "remaining_head.")) and stage == "next_chunk"
            trains = name in STAGES[stage].trains and not of_events
            old = before[f"{module_name(policy.model, module)}.{key}"]
            assert torch.equal(old, parameter) != trains, (name, key)
            assert parameter.requires_grad == trains == (id(parameter) in given)
    covered = {id(p) for module in parts.values() for p in module.parameters()}
    assert covered == {id(p) for p in policy.parameters()}


def module_name(model, module) -> str:
    return next(name for name, each in model.named_modules() if each is module)


@pytest.mark.parametrize("stage", TOWERS)
def test_frozen_parts_stay_in_evaluation_mode(make_policy, stage):
    policy = make_policy(stage=stage)
    for mode in (True, False, True):
        policy.train(mode)
        for name, part in policy.model.parts().items():
            assert part.training == (mode and name in STAGES[stage].trains)
            assert all(module.training == part.training for module in part.modules())


@pytest.mark.parametrize("stage", TOWERS)
def test_losses_and_keys_are_those_of_the_row_on_every_step(make_policy, make_train_batch, stage):
    policy = make_policy(stage=stage).train()
    for valid in ([8, 8, 8, 8], [8, 5, 3, 1], [1, 1, 1, 1], [4]):
        batch = make_train_batch(policy.config, batch=len(valid), valid=valid)
        loss, logged = policy(batch)
        assert list(logged) == [f"loss_{name}" for name in LOSSES if name in STAGES[stage].losses]
        assert loss.requires_grad and torch.isfinite(loss)


@pytest.mark.parametrize("stage", TOWERS)
def test_unreduced_losses_average_to_the_loss_in_each_stage(make_policy, make_train_batch, stage):
    policy = make_policy(stage=stage)
    batch = make_train_batch(policy.config, valid=[8, 5, 3, 1])
    torch.manual_seed(0)
    mean, logged = policy(batch)
    torch.manual_seed(0)
    each, logged_each = policy(batch, reduction="none")
    torch.testing.assert_close(each.mean(), mean)
    assert logged == logged_each


# ---------------------------------------------------------------------- video


def test_stage_video_learns_from_every_sample_and_runs_no_action_tower():
    model = stage_model("video").train()
    for part in (model.action, model.goal_head):
        part.register_forward_pre_hook(lambda *_: pytest.fail("stage video needs no actions"))
    out = losses(model, random_event(lengths=(8, 8, 5, 2)))
    assert out.has_video.all() and bool((out.video > 0).all())
    assert not (out.action.any() or out.has_remaining.any() or out.has_goal.any())
    out.video.mean().backward()
    assert [n for n, p in model.video.named_parameters() if p.grad is None or not p.grad.any()] == []


@torch.no_grad()
@pytest.mark.parametrize("stage", ["video", "joint"])
def test_the_video_does_not_depend_on_actions(stage):
    model, event = stage_model(stage, future_fraction=1.0), random_event()
    changed = replace(event, actions=event.actions * -3 + 1, state=event.state + 1, goal=event.goal + 1)
    assert torch.equal(losses(model, event).video, losses(model, changed).video)
    # Actions of a wholly different tower, the same imagined video.
    plans = []
    for seed in range(2):
        torch.manual_seed(seed)
        model.action.head[0].weight.normal_()
        length = torch.full((4,), 8)
        generator = torch.Generator().manual_seed(0)
        plans.append(
            sampling.plan(
                model, event.keyframes, event.state, event.captions, event.here, "full", 4, generator, length
            )
        )
    assert torch.equal(plans[0].latents, plans[1].latents)
    assert not torch.allclose(plans[0].actions, plans[1].actions)


@pytest.mark.parametrize("stage", ["video", "joint"])
def test_noise_levels_are_uniform_in_stage_video_alone(stage):
    model, levels = stage_model(stage, future_fraction=1.0, anchored_fraction=0.0), []
    model.video.register_forward_pre_hook(lambda _, args: levels.append(args[1][:, 1]))
    with torch.no_grad():
        for seed in range(4):
            losses(model, random_event(lengths=(8,) * 64), seed)
    quartiles = torch.cat(levels).quantile(torch.tensor([0.25, 0.5, 0.75]))
    uniform = torch.tensor([0.25, 0.5, 0.75])
    expected = uniform if stage == "video" else fm.shift_noise_level(uniform, SHAPE.video_shift)
    torch.testing.assert_close(quartiles, expected, atol=0.08, rtol=0)


def test_captions_are_dropped_in_training_by_the_length_of_the_event(
    make_policy, make_train_batch, monkeypatch
):
    monkeypatch.setattr(WallwmConfig, "caption_drop", lambda self: CaptionDrop(0.1, 0.9, 20, 40))
    policy, seen = make_policy(stage="video"), []
    policy._events.episode_length = torch.tensor([20, 40])
    policy.model.text_encoder.register_forward_pre_hook(lambda _, args: seen.extend(args[0]))
    batch = make_train_batch(policy.config, batch=100)
    batch["episode_index"] = torch.arange(100) % 2
    torch.manual_seed(0)
    with torch.no_grad():
        policy.eval()(batch)
        assert seen == batch["task"]
        seen.clear()
        policy.train()(batch)
    dropped = torch.tensor([caption == "" for caption in seen]).view(-1, 2).sum(0)
    assert 1 <= dropped[0] <= 13 and 38 <= dropped[1] <= 49  # of 50 each, at 0.1 and 0.9
    assert batch["task"][0] == TASK
    # A run that is resumed at this step drops the same.
    again = make_policy(stage="video").train()
    again._events.episode_length = policy._events.episode_length
    first, seen[:] = list(seen), []
    again.model.text_encoder.register_forward_pre_hook(lambda _, args: seen.extend(args[0]))
    torch.rand(7)
    with torch.no_grad():
        again(batch)
    assert seen == first


def test_an_event_without_a_caption_trains(make_policy, make_train_batch, monkeypatch):
    monkeypatch.setattr(WallwmConfig, "caption_drop", lambda self: CaptionDrop(1.0, 1.0, 8, 9))
    policy = make_policy(stage="video").train()
    loss, _ = policy(make_train_batch(policy.config))
    loss.backward()
    assert torch.isfinite(loss) and all(
        torch.isfinite(p.grad).all() for p in policy.parameters() if p.grad is not None
    )


def test_a_video_checkpoint_does_not_move_an_arm(make_policy, make_observation):
    policy = make_policy(stage="video")
    for act in (policy.select_action, policy.predict_action_chunk):
        with pytest.raises(ValueError, match="stage=video, which trains no actions.*--policy.stage=action"):
            act(make_observation([TASK]))


# ---------------------------------------------------------------------- action


def test_action_losses_send_no_gradient_into_the_video_tower():
    model = stage_model("action", landmarks=0).train()  # landmarks learn through the frozen tower
    out = losses(model, random_event())
    (out.action.sum() + out.remaining.sum() + out.goal.sum()).backward()
    assert all(p.grad is None for p in model.video.parameters())
    # The action tower's side of the coupling does learn.
    for block in model.action.blocks:
        assert block.video_attention.to_kv.weight.grad.any() and block.norm_video.weight.grad.any()
    assert model.action.place.grad.any() and model.action.tau_video.weight.grad.any()


def test_the_paper_anchor_and_draws_hold_in_training_and_inference(monkeypatch):
    monkeypatch.setattr(fm, "ANCHOR_JITTER", 0.0)
    model, levels, rows = stage_model("action"), [], []
    model.video.register_forward_pre_hook(lambda _, args: levels.append(args[1]))
    model.action.register_forward_pre_hook(lambda _, args: rows.append(args[0]))
    event = random_event()
    with torch.no_grad():
        losses(model, event)
        trained = levels[0][
            :2, 1:
        ]  # half of the samples have the future at s*, the others see the keyframe alone
        assert len(levels) == 1 and [len(r) for r in rows] == [4 * 6]  # one forward; six draws read it
        for num_steps in (3, 10, 50):
            levels.clear()
            sampling.plan(
                model,
                event.keyframes,
                event.state,
                event.captions,
                event.here,
                "anchor",
                num_steps,
                length=torch.full((4,), 8),
            )
            torch.testing.assert_close(levels[-1][:2, 1:], trained, atol=1e-6, rtol=0)
    torch.testing.assert_close(trained, torch.full_like(trained, fm.anchor_noise_level(5.0)))


def test_jitter_stays_round_the_anchor():
    model, levels = stage_model("action", future_fraction=1.0), []
    model.video.register_forward_pre_hook(lambda _, args: levels.append(args[1][:, 1]))
    with torch.no_grad():
        losses(model, random_event(lengths=(8,) * 32))
    away = levels[0] - fm.anchor_noise_level(SHAPE.video_shift)
    assert 0.01 < float(away.abs().max()) <= fm.ANCHOR_JITTER + 1e-6 and away.min() < 0 < away.max()


@torch.no_grad()
def test_the_remaining_time_learns_from_keyframes_alone():
    model, event = stage_model("action"), random_event()
    out = losses(model, event)
    assert out.has_remaining.tolist() == [False, False, True, True]
    assert not out.has_video.any() and not out.video.any()
    other = losses(model, replace(event, future=event.future + 3))
    assert torch.equal(out.remaining, other.remaining) and not torch.equal(out.action, other.action)


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_an_action_checkpoint_acts_with_any_imagination(make_policy, make_observation, imagination):
    policy = make_policy(stage="action", imagination=imagination)
    chunk = policy.predict_action_chunk(make_observation([TASK]))
    assert chunk.shape == (1, policy.config.horizon, 6) and torch.isfinite(chunk).all()


# ---------------------------------------------------------------------- configuration


def test_a_checkpoint_keeps_what_was_asked_for(make_config, tmp_path):
    make_config(stage="video", ema_decay=0.5).save_pretrained(tmp_path)
    assert PreTrainedConfig.from_pretrained(tmp_path).training_stage.ema_decay == 0.5
    other = PreTrainedConfig.from_pretrained(tmp_path, cli_overrides=["--ema_decay=null"])
    assert other.training_stage.ema_decay == 0.9999


def test_a_stages_numbers_do_not_follow_into_the_next(make_config, tmp_path):
    make_config(stage="video", action_draws=None).save_pretrained(tmp_path)
    video = PreTrainedConfig.from_pretrained(tmp_path)
    action = PreTrainedConfig.from_pretrained(tmp_path, cli_overrides=["--stage=action"])
    joint = PreTrainedConfig.from_pretrained(tmp_path, cli_overrides=["--stage=joint"])
    names = ("future_fraction", "anchored_fraction", "action_draws", "ema_decay")
    assert [getattr(video.training_stage, name) for name in names] == [1.0, 0.0, 1, 0.9999]
    assert [getattr(action.training_stage, name) for name in names] == [0.5, 1.0, 6, 0.0]
    assert [getattr(joint.training_stage, name) for name in names] == [0.125, 0.5, 2, 0.0]
    assert [model_shape(c).video_train_shift for c in (video, action, joint)] == [1.0, 5.0, 5.0]
    assert [c.caption_drop().most for c in (video, action, joint)] == [0.9, 0.0, 0.0]
    asked = PreTrainedConfig.from_pretrained(
        tmp_path, cli_overrides=["--stage=action", "--future_fraction=1.0", "--ema_decay=0.5"]
    )
    assert model_shape(asked).stage.future_fraction == 1.0 and asked.training_stage.ema_decay == 0.5


def test_captions_drop_by_the_papers_frames_scaled_to_the_window(make_config):
    drop = make_config(stage="video", video_stride=2, num_future_latents=16).caption_drop()
    assert (drop.least, drop.most, drop.short, drop.long) == (0.1, 0.9, 129, 220)
    drop = make_config(stage="video", video_stride=4, num_future_latents=2).caption_drop()
    assert (drop.short, drop.long) == (33, 56)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stage": "text"}, "--policy.stage=text is not available: choose one of joint, video, action"),
        ({"stage": "video", "future_fraction": 0.5}, "stage=video learns from the future alone"),
        ({"ema_decay": 1.0}, r"--policy.ema_decay must lie in \[0, 1\), got 1.0"),
        ({"action_draws": 0}, "--policy.action_draws must be at least 1, got 0"),
    ],
)
def test_a_wrong_number_is_named_with_its_flag(make_config, fields, message):
    with pytest.raises(ValueError, match=message):
        make_config(**fields)
