# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import copy

import pytest
import torch
from tiny_arm import CAMERAS, PICKED, grammar

from lerobot_wallwm.policies.acting.seams import MOST_BRAKE
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

TASK, GRAMMAR = "put the red cube on the blue disc", grammar(4)


def rollout(policy, observations) -> torch.Tensor:
    """Actions ``(ticks, B, A)`` of a rollout from its start."""
    policy.reset()
    return torch.stack([policy.select_action(observation) for observation in observations])


def observations(make_observation, tasks: list[str], ticks: int, seed: int = 0) -> list:
    return [make_observation(tasks, seed=seed + tick) for tick in range(ticks)]


def walk(
    policy, make_observation, ticks: int, task: str = TASK
) -> tuple[list[torch.Tensor], list[str | None]]:
    """Actions and captions of a rollout from its start."""
    policy.reset()
    actions, captions = [], []
    for tick in range(ticks):
        actions.append(policy.select_action(make_observation([task], seed=tick)))
        captions.append(policy.rollout.cursors[0].caption)
    return actions, captions


def loss_of(policy, batch, **options):
    """The loss and what is logged, always from the same noise."""
    torch.manual_seed(0)
    return policy(batch, **options)


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_a_saved_policy_acts_identically(make_policy, make_observation, tmp_path, imagination):
    policy = make_policy(imagination=imagination, **GRAMMAR)
    policy.save_pretrained(tmp_path)
    loaded = WallwmPolicy.from_pretrained(tmp_path).eval()
    assert loaded.state_dict().keys() == policy.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in policy.state_dict().items())
    steps = observations(make_observation, [TASK], 6)
    assert torch.equal(rollout(policy, steps), rollout(loaded, steps))
    for each in (policy, loaded):
        each.reset()
    assert torch.equal(policy.predict_action_chunk(steps[0]), loaded.predict_action_chunk(steps[0]))


def test_a_saved_policy_trains_identically(make_policy, make_train_batch, tmp_path):
    policy = make_policy()
    policy.save_pretrained(tmp_path)
    batch = make_train_batch(policy.config)
    assert torch.equal(loss_of(policy, batch)[0], loss_of(WallwmPolicy.from_pretrained(tmp_path), batch)[0])


def test_on_another_dataset_the_range_follows_and_the_units_stay(make_policy, tiny_stats, tmp_path):
    policy = make_policy()
    policy.save_pretrained(tmp_path)
    other = copy.deepcopy(tiny_stats)
    other["action"]["max"] = other["action"]["max"] * 2
    other["observation.state"]["mean"] = other["observation.state"]["mean"] + 5
    loaded = WallwmPolicy.from_pretrained(tmp_path, dataset_stats=other)
    assert torch.equal(loaded.action_space.range_high, other["action"]["max"])
    for name in ("offset", "scale", "state_mean", "state_std", "relative"):
        assert torch.equal(getattr(loaded.action_space, name), getattr(policy.action_space, name)), name


def test_forward_gives_a_scalar_and_always_the_same_keys(make_policy, make_train_batch):
    policy = make_policy()
    keys = set()
    for valid in ([8, 8, 8, 8], [8, 5, 3, 1], [1, 1, 1, 1]):
        loss, logged = policy(make_train_batch(policy.config, valid=valid))
        assert loss.ndim == 0 and torch.isfinite(loss) and loss.requires_grad
        assert all(isinstance(value, float) for value in logged.values())
        keys.add(tuple(sorted(logged)))
    assert keys == {("loss_action", "loss_goal", "loss_remaining", "loss_video")}


@pytest.mark.parametrize("future_fraction", [0.0, 0.25, 0.5, 1.0])
def test_unreduced_losses_average_to_the_loss(make_policy, make_train_batch, future_fraction):
    policy = make_policy(future_fraction=future_fraction)
    batch = make_train_batch(policy.config)
    (mean, logged), (each, logged_each) = loss_of(policy, batch), loss_of(policy, batch, reduction="none")
    assert each.shape == (4,) and logged == logged_each
    torch.testing.assert_close(each.mean(), mean)


def test_a_samples_unreduced_loss_is_its_own(make_policy, make_train_batch):
    policy = make_policy(future_fraction=0.5)
    batch = make_train_batch(policy.config)
    changed = {**batch, "action": batch["action"].clone()}
    changed["action"][1] += 0.5
    before, after = (loss_of(policy, data, reduction="none")[0] for data in (batch, changed))
    assert (before != after).tolist() == [False, True, False, False]


def test_future_states_are_not_an_input(make_policy, make_train_batch):
    policy = make_policy()
    batch = make_train_batch(policy.config)
    losses = [float(loss_of(policy, batch)[0].detach())]
    for when in (slice(1, None), slice(1)):  # the future, and now
        moved = {**batch, "observation.state": batch["observation.state"].clone()}
        moved["observation.state"][:, when] += 40
        losses.append(float(loss_of(policy, moved)[0].detach()))
    assert losses[0] == losses[1] != losses[2]


def test_padded_actions_do_not_reach_the_loss(make_policy, make_train_batch):
    policy = make_policy()
    batch = make_train_batch(policy.config, valid=[8, 5, 3, 1])
    garbage = {**batch, "action": torch.where(batch["action_is_pad"][..., None], 77.0, batch["action"])}
    torch.testing.assert_close(loss_of(policy, batch)[0], loss_of(policy, garbage)[0])


def test_forward_and_select_action_leave_the_batch_alone(make_policy, make_train_batch, make_observation):
    policy = make_policy(save_predicted_video=True)
    for data, call in (
        (make_train_batch(policy.config), policy.forward),
        (make_observation([TASK]), policy.select_action),
        (make_observation([TASK]), policy.predict_action_chunk),
    ):
        before = copy.deepcopy(data)
        call(data)
        assert data.keys() == before.keys()
        for key, value in data.items():
            unchanged = value == before[key]
            assert unchanged.all() if isinstance(value, torch.Tensor) else unchanged, key


def test_optimiser_gets_every_parameter_once(make_policy):
    policy = make_policy()
    groups = policy.get_optim_params()
    given = [id(p) for group in groups for p in group["params"]]
    assert len(given) == len(set(given)) and set(given) == {id(p) for p in policy.parameters()}
    assert all(p.ndim == 2 for g in groups if "weight_decay" not in g for p in g["params"])
    undecayed = {id(p) for g in groups if g.get("weight_decay") == 0.0 for p in g["params"]}
    for table in (policy.model.text_encoder.table, policy.model.action.tau_video):
        assert id(table.weight) in undecayed
    assert id(policy.model.text_encoder.position) in undecayed


def test_it_walks_through_all_events_then_holds(make_policy, make_observation):
    actions, captions = walk(make_policy(**GRAMMAR), make_observation, 3 * 6 + 12)
    assert list(dict.fromkeys(captions)) == [*PICKED, None]
    done = captions.index(None)
    assert 3 <= done <= 18
    at_rest = done + MOST_BRAKE - 1  # it brakes first
    assert at_rest < len(actions) and all(torch.equal(a, actions[at_rest]) for a in actions[at_rest:])
    assert len({tuple(a[0].tolist()) for a in actions[:done]}) == done  # it moved at every tick before


def test_on_plan_end_repeat_begins_again(make_policy, make_observation):
    _, captions = walk(make_policy(**GRAMMAR, on_plan_end="repeat"), make_observation, 40)
    changes = [b for a, b in zip([None, *captions], captions, strict=False) if a != b]
    assert None not in captions and changes[:4] == [*list(dict.fromkeys(captions)), changes[0]]


def test_a_script_runs_in_order(make_policy, make_observation):
    script = ["grasp the red cube", "reach for the blue disc"]
    policy = make_policy(**{**GRAMMAR, "planner": "script"}, script=script)
    _, seen = walk(policy, make_observation, 14, "whatever")
    assert list(dict.fromkeys(seen)) == [*script, None]


def test_the_caption_and_not_the_instruction_drives_the_arm(make_policy, make_observation):
    policy = make_policy(**GRAMMAR, seam_acceleration=0.0)
    policy.model.text_encoder.table.weight.data.mul_(10)  # untrained text attention is faint
    # "place" and "put" fill the same events.
    tasks = (TASK, TASK.replace("red", "green"), TASK.replace("put", "place"))
    red, green, placed = (rollout(policy, observations(make_observation, [task], 3)) for task in tasks)
    assert (red - green).abs().max() > 1e-5 and torch.equal(red, placed)


def test_a_rollout_can_be_repeated_and_noise_can_be_fresh(make_policy, make_observation):
    steps = observations(make_observation, [TASK], 5)
    policy = make_policy(seam_acceleration=0.0)
    assert torch.equal(rollout(policy, steps), rollout(policy, steps))
    policy = make_policy(inference_seed=None, seam_acceleration=0.0)
    assert not torch.equal(rollout(policy, steps), rollout(policy, steps))


def test_each_robot_of_a_batch_goes_through_its_own_events(make_policy, make_observation):
    """Captions, their timing and the actions, at every tick, are those of the robot alone."""
    tasks = [TASK, "put the green mug on the tray", "pick up the pear"]
    batch_policy = make_policy(**grammar(7, replan_steps=3))
    # Remaining times that differ between robots, so that their events do end at different ticks.
    head = batch_policy.model.action.remaining_head[-1]
    head.weight.data.normal_(0, 3.0, generator=torch.Generator().manual_seed(0))
    features: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    batch_policy.predict_action_chunk(make_observation(tasks))
    hook.remove()
    head.bias.data.fill_(torch.tensor(5.0).log()).sub_((features[0] @ head.weight.T).mean())
    singles = [copy.deepcopy(batch_policy) for _ in tasks]
    for policy in (batch_policy, *singles):
        policy.reset()
    starts = [[], [], []]
    for tick in range(24):
        observation = make_observation(tasks, seed=tick)
        actions = batch_policy.select_action(observation)
        assert actions.shape == (3, 6) and torch.isfinite(actions).all()
        for i, policy in enumerate(singles):
            action = policy.select_action({k: v[i : i + 1] for k, v in observation.items()})
            torch.testing.assert_close(action[0], actions[i], atol=1e-4, rtol=1e-4)
            alone, together = policy.rollout.cursors[0], batch_policy.rollout.cursors[i]
            assert alone.caption == together.caption, (tick, i)
            assert alone.frames_in_event == together.frames_in_event, (tick, i)
            starts[i].append(together.caption)
    changes = [[t for t in range(1, 24) if each[t] != each[t - 1]] for each in starts]
    assert len({tuple(c) for c in changes}) > 1, "the robots' events all end together: nothing was tested"


def test_a_new_instruction_takes_effect_at_once(make_policy, make_observation):
    policy = make_policy(**GRAMMAR, replan_steps=0)
    policy.reset()
    policy.select_action(make_observation([TASK]))
    policy.select_action(make_observation(["put the green mug on the tray"]))
    assert policy.rollout.cursors[0].caption == "reach for the green mug"


def test_a_chunk_holds_beyond_the_predicted_end(make_policy, make_observation):
    policy = make_policy()
    observation = make_observation(["reach for the red cube", "close the gripper"])
    bias = policy.model.action.remaining_head[-1].bias.data
    bias.fill_(1.0)
    chunk = policy.predict_action_chunk(observation)
    assert chunk.shape == (2, policy.config.horizon, 6)
    policy.model.action.remaining_head[-1].weight.data.zero_()
    bias.fill_(torch.tensor(3.0).log())
    policy.reset()
    chunk = policy.predict_action_chunk(observation)
    assert torch.equal(chunk[:, 3:], chunk[:, 2:3].expand(-1, chunk.shape[1] - 3, -1))
    assert not torch.equal(chunk[:, 1], chunk[:, 2])


def test_filming_the_imagination_does_not_change_what_is_done(make_policy, make_observation):
    steps = observations(make_observation, [TASK], 6)
    plain, filmed = (make_policy(save_predicted_video=film, **GRAMMAR) for film in (False, True))
    assert torch.equal(rollout(plain, steps), rollout(filmed, steps))
    assert filmed.last_predicted_latents is not None and plain.last_predicted_latents is None


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_imagined_video_has_lerobots_shape(make_policy, make_observation, imagination):
    policy = make_policy(imagination=imagination, save_predicted_video=True, **GRAMMAR)
    policy.reset()
    collected, events = [], []
    for tick in range(20):  # as lerobot-eval collects
        policy.select_action(make_observation([TASK], seed=tick))
        if policy.last_predicted_latents is not None:
            collected.append(policy.last_predicted_latents)
            policy.last_predicted_latents = None
            events.append(policy.rollout.cursors[0].caption)
    assert len(collected) == 3 and len(set(events)) == 3  # once an event
    video = policy.decode_predicted_latents(torch.cat(collected, dim=2))
    assert video.shape == (3 * 9, 32, 64, 3) and video.dtype == torch.uint8
    # The first frame of the first event is what the cameras saw, side by side.
    first = make_observation([TASK], seed=0)
    seen = torch.cat([first[key][0] for key in CAMERAS], dim=-1).permute(1, 2, 0)
    assert (video[0].float() - seen * 255).abs().max() <= 1.0


def test_a_missing_camera_is_named_with_those_that_are_there(make_policy, make_observation):
    policy, observation = make_policy(), make_observation([TASK])
    observation["observation.images.hand"] = observation.pop("observation.images.wrist")
    says = "Camera 'observation.images.wrist' is missing .*observation.images.hand.*rename_map"
    with pytest.raises(ValueError, match=says):
        policy.select_action(observation)


def test_another_image_size_is_an_error_with_the_fix(make_policy, make_observation):
    observation = make_observation([TASK], shape=(3, 48, 64))
    says = r"shape \(3, 48, 64\) .*trained on \(3, 32, 32\).*width=32, height=32"
    with pytest.raises(ValueError, match=says):
        make_policy().select_action(observation)


def test_a_missing_task_is_an_error(make_policy, make_observation):
    observation = make_observation([TASK])
    del observation["task"]
    with pytest.raises(ValueError, match="no 'task': pass --task="):
        make_policy().select_action(observation)


def test_an_unknown_caption_in_a_script_is_an_error(make_policy, make_observation):
    policy = make_policy(**{**GRAMMAR, "planner": "script"}, script=["grasp the cup", "juggle the cup"])
    with pytest.raises(ValueError, match="unknown caption 'juggle the cup'"):
        policy.select_action(make_observation([TASK]))


def test_a_grammar_planner_without_a_grammar_is_an_error(make_policy, make_observation):
    with pytest.raises(ValueError, match="no event grammar"):
        make_policy(planner="grammar").select_action(make_observation([TASK]))


def test_larger_camera_images_are_resized(make_policy, make_observation):
    policy = make_policy(image_shape=(3, 48, 64))
    action = policy.select_action(make_observation([TASK], shape=(3, 48, 64)))
    assert action.shape == (1, 6) and torch.isfinite(action).all()
