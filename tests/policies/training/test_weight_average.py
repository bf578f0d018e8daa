# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The average of the weights: what it holds, when it is shown, and how it travels in checkpoints."""

from __future__ import annotations

import copy

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from safetensors.torch import load_file, save_file
from torch import nn

from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.training.weight_average import WeightAverage

AVERAGED = {"stage": "video", "optimizer_lr": 1e-2}


def steps(policy, make_train_batch, numbers, optimizer=None):
    """Training steps as `lerobot-train` makes them; returns the optimiser."""
    optimizer = optimizer or policy.config.get_optimizer_preset().build(policy.get_optim_params())
    for number in numbers:
        policy.train()
        torch.manual_seed(0)
        policy(make_train_batch(policy.config, seed=number))[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        policy.update()
    return optimizer


def started_from(folder, **fields) -> WallwmPolicy:
    """As `lerobot-train --policy.path=<folder> --policy.<field>=<value>` does."""
    config = PreTrainedConfig.from_pretrained(folder)
    for name, value in fields.items():
        setattr(config, name, value)
    return WallwmPolicy.from_pretrained(folder, config=config)


def assert_equal_states(a, b) -> None:
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def test_it_equals_a_plain_loop_with_the_warm_up():
    model = nn.Linear(2, 1, bias=False)
    average, expected = WeightAverage(model, 0.5), None
    for count in range(20):
        model.weight.data.fill_(float(count**2))
        average.update(model)
        if expected is None:
            expected = float(count**2)  # the first weights, whatever they were when the average was built
        else:
            decay = min(0.5, (1 + count) / (10 + count))
            expected = decay * expected + (1 - decay) * count**2
    torch.testing.assert_close(average.weight, torch.full((1, 2), expected))
    assert int(average.updates) == 20


def test_it_keeps_what_bfloat16_weights_would_lose():
    model = nn.Linear(1, 1, bias=False).bfloat16()
    average = WeightAverage(model, 0.9999)
    model.weight.data.fill_(1.0)
    average.update(model)
    average.updates.fill_(10**6)  # the warm-up is over
    model.weight.data.fill_(2.0)
    for _ in range(10):
        average.update(model)
    assert average.weight.dtype == torch.float32
    assert float(average.weight) == pytest.approx(2 - 0.9999**10, abs=1e-5)
    average.show(model, True)
    average.show(model, False)
    assert float(model.weight) == 2.0 and float(average.weight) > 1.0005


def test_parameters_that_fsdp_hides_are_refused():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.9)
    del model.weight
    model.flat = nn.Parameter(torch.zeros(3))
    with pytest.raises(RuntimeError, match="FSDP.*use_orig_params"):
        average.update(model)


def test_only_trained_parts_are_averaged_and_only_where_the_stage_says(make_policy):
    policy = make_policy(**AVERAGED)
    names = set(policy.ema["video"].names)
    assert names == {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert names and not any(name.startswith(("action.", "goal_head.")) for name in names)
    for stage in ("joint", "action"):
        assert len(make_policy(stage=stage).ema) == 0
    assert len(make_policy(stage="video", ema_decay=0.0).ema) == 0
    assert list(make_policy(stage="joint", ema_decay=0.9).ema) == ["joint"]


def test_evaluation_shows_the_average_and_training_the_live_weights(make_policy, make_train_batch):
    policy = make_policy(**AVERAGED)
    steps(policy, make_train_batch, range(4))
    weight, average = policy.model.video.proj_out.weight, policy.ema["video"]
    live, mean = weight.detach().clone(), getattr(average, "video/proj_out/weight").clone()
    assert not torch.equal(live, mean)
    before = {key: value.clone() for key, value in policy.state_dict().items()}
    for _ in range(2):  # twice in a row changes nothing more
        policy.eval()
        assert torch.equal(weight, mean)
    assert_equal_states(policy.state_dict(), before)
    other = copy.deepcopy(policy)
    with pytest.raises(RuntimeError, match="train"):
        policy.update()
    for each in (policy, other):
        each.train()
        assert torch.equal(each.model.video.proj_out.weight, live)
        assert_equal_states(each.state_dict(), before)


def test_before_the_first_step_there_is_no_average_to_show(make_policy):
    policy = make_policy(**AVERAGED)  # its weights were changed after it was built
    shown = policy.eval().model.video.proj_out.weight.detach().clone()
    assert torch.equal(policy.train().model.video.proj_out.weight, shown)


@pytest.mark.parametrize("training", [True, False])
def test_a_checkpoint_holds_both_whichever_was_shown(make_policy, make_train_batch, tmp_path, training):
    policy = make_policy(**AVERAGED)
    steps(policy, make_train_batch, range(3))
    expected = {key: value.clone() for key, value in policy.state_dict().items()}
    policy.train(training).save_pretrained(tmp_path)
    assert_equal_states(load_file(tmp_path / "model.safetensors"), expected)
    loaded = WallwmPolicy.from_pretrained(tmp_path)
    assert not loaded.training  # LeRobot loads in evaluation mode
    assert torch.equal(
        loaded.model.video.proj_out.weight, getattr(policy.ema["video"], "video/proj_out/weight")
    )
    assert_equal_states(loaded.state_dict(), expected)
    # Loading over a policy that shows its averages.
    loaded.load_state_dict(expected)
    assert_equal_states(loaded.state_dict(), expected)
    assert_equal_states(loaded.train().state_dict(), expected)


def test_a_resumed_run_ends_where_an_unbroken_one_does(make_policy, make_train_batch, tmp_path):
    unbroken, broken = make_policy(**AVERAGED), make_policy(**AVERAGED)
    steps(unbroken, make_train_batch, range(6))
    optimizer = steps(broken, make_train_batch, range(3))
    broken.eval().save_pretrained(tmp_path)
    resumed = WallwmPolicy.from_pretrained(tmp_path)
    again = resumed.config.get_optimizer_preset().build(resumed.get_optim_params())
    again.load_state_dict(optimizer.state_dict())
    steps(resumed, make_train_batch, range(3, 6), again)
    assert_equal_states(resumed.state_dict(), unbroken.state_dict())


def test_the_next_stage_starts_from_the_average(make_policy, make_train_batch, tmp_path):
    policy = make_policy(**AVERAGED)
    steps(policy, make_train_batch, range(4))
    policy.save_pretrained(tmp_path)
    averages = policy.ema["video"]
    for fields in ({"stage": "action"}, {"stage": "joint"}, {"stage": "joint", "ema_decay": 0.5}):
        following = started_from(tmp_path, **fields)
        assert [int(average.updates) for average in following.ema.values()] == [0] * ("ema_decay" in fields)
        weights, left = dict(following.train().model.named_parameters()), policy.train().model
        for name, live in left.named_parameters():
            expected = getattr(averages, name.replace(".", "/")) if name in averages.names else live
            assert torch.equal(weights[name], expected), name


def test_a_checkpoint_without_an_average_begins_one(make_policy, make_train_batch, tmp_path):
    joint = make_policy(stage="joint")
    joint.save_pretrained(tmp_path)
    video = started_from(tmp_path, **AVERAGED)
    average = video.ema["video"]
    assert int(average.updates) == 0
    for weight in (video.model.video.proj_out.weight, getattr(average, "video/proj_out/weight")):
        assert torch.equal(weight, joint.model.video.proj_out.weight)
    steps(video, make_train_batch, range(1))
    assert torch.equal(video.model.video.proj_out.weight, getattr(average, "video/proj_out/weight"))


def test_a_checkpoint_with_an_unfit_average_is_refused(make_policy, tmp_path):
    make_policy(**AVERAGED).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    del state["ema.video.video/proj_out/weight"]
    save_file(state, file)
    with pytest.raises(WeightsError, match="1 missing: ema.video.video/proj_out/weight"):
        WallwmPolicy.from_pretrained(tmp_path)


def test_new_cameras_begin_a_new_average(make_policy, make_train_batch):
    policy = make_policy(**AVERAGED)
    steps(policy, make_train_batch, range(3))
    weight, average = policy.eval().model.video.proj_out.weight, policy.ema["video"]
    mean = weight.detach().clone()
    average.begin(policy.model)
    assert int(average.updates) == 0 and torch.equal(policy.train().model.video.proj_out.weight, mean)
    assert torch.equal(policy.state_dict()["model.video.proj_out.weight"], mean)


def test_an_average_of_weights_that_are_yet_to_come():
    """A Wan tower is built without weights where a checkpoint follows."""
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.9)
    model.to_empty(device="cpu")
    nn.init.ones_(model.weight)
    average.begin(model)
    assert average.updates.device.type == "cpu" and bool((average.weight == 1).all())
    average.update(model)
    assert int(average.updates) == 1


def test_what_is_predicted_comes_from_the_average(make_policy, make_train_batch, make_observation):
    policy = make_policy(stage="joint", ema_decay=0.99, optimizer_lr=1e-2)
    steps(policy, make_train_batch, range(4))
    observation = make_observation(["reach for the red cube"])
    policy.eval().reset()
    shown = policy.predict_action_chunk(observation)
    averaged = copy.deepcopy(policy)
    averaged.ema.clear()  # the averages alone, for good
    averaged.reset()
    assert torch.equal(averaged.predict_action_chunk(observation), shown)
    policy.train().model.eval()  # the live weights
    policy.reset()
    with torch.no_grad():
        live = policy.rollout.event(observation)
    assert not torch.equal(live, shown)
    policy.train().reset()  # as a user may have left it
    assert torch.equal(policy.predict_action_chunk(observation), shown)


@pytest.mark.parametrize("stage", ["joint", "video", "action"])
def test_data_parallel_training_does_not_send_the_averages_round(make_policy, make_train_batch, stage):
    policy = make_policy(stage=stage).train()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(policy, find_unused_parameters=True)
        sent = {id(buffer) for buffer in wrapped.modules_buffers}
        assert sent and not sent & {id(buffer) for buffer in policy.ema.buffers()}
        for seed in range(2):
            wrapped(make_train_batch(policy.config, batch=1, seed=seed))[0].backward()
    finally:
        torch.distributed.destroy_process_group()
