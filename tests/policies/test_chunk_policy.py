# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Stage `next_chunk` through LeRobot's face: rollouts, training steps, and starting from an event checkpoint."""

import copy
import logging

import pytest
import torch
from hypothesis import given, settings, strategies as st
from recordings import Recording
from tiny_arm import PICK, PICKED

from lerobot_wallwm.language.event_grammar import learn_transitions
from lerobot_wallwm.policies.batches.chunk_reader import ChunkHistory
from lerobot_wallwm.policies.model import sampling
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy


@pytest.fixture(scope="module")
def chunk_policy(make_policy):
    def build(**fields):
        return make_policy(stage="next_chunk", **{"chunk_steps": 3, **fields})

    return build


def rollout(policy, recording: Recording, ticks: int) -> tuple[torch.Tensor, dict[int, object]]:
    """Actions ``(ticks, 6)``, and the past that each plan was made from."""
    pasts: dict[int, object] = {}
    original, tick = sampling.plan, 0

    def spy(*args, **kwargs):
        pasts[tick] = kwargs["chunk"]
        return original(*args, **kwargs)

    sampling.plan = spy
    policy.reset()
    actions = []
    for tick in range(ticks):  # noqa: B007  read by the spy
        actions.append(policy.select_action(recording.observation(tick))[0])
    sampling.plan = original
    return torch.stack(actions), pasts


@settings(max_examples=8)
@given(st.integers(0, 2), st.integers(1, 2), st.integers(0, 8))
def test_a_rollout_sees_the_windows_of_its_own_recording(chunk_policy, history, stride, steps):
    policy = chunk_policy(history_latents=history, video_stride=stride, chunk_steps=steps)
    recording = Recording.random(30)
    actions, pasts = rollout(policy, recording, 30)
    assert list(pasts) == list(range(0, 30, policy.config.chunk_length))
    # As LeRobot would record it: what was seen and the action that followed, one row per tick.
    recording.actions = actions.clamp(-1, 1)
    reader = policy._events
    reader.episode_start, reader.episode_end = torch.tensor([0]), torch.tensor([30])
    event = reader(recording.window(policy.config, list(pasts)), 0)
    for row, (tick, chunk) in enumerate(pasts.items()):
        trained = event.chunk[row : row + 1]
        assert torch.equal(chunk.past, trained.past), tick
        assert torch.equal(chunk.past_valid, trained.past_valid), tick
        assert torch.equal(chunk.given.valid, trained.given.valid), tick
        torch.testing.assert_close(chunk.given.tokens, trained.given.tokens, atol=1e-5, rtol=1e-5)
        number = [tick // policy.config.chunk_length]
        assert chunk.given.chunk.tolist() == trained.given.chunk.tolist() == number


def test_a_new_instruction_is_followed_at_once_and_keeps_the_past(chunk_policy):
    policy, recording = chunk_policy(), Recording.random(12)
    policy.reset()
    for tick in range(4):
        policy.select_action(recording.observation(tick))
    assert policy.rollout.cursors[0].queue
    policy.select_action({**recording.observation(4), "task": ["put the mug on the tray"]})
    assert policy.rollout.cursors[0].caption == "put the mug on the tray"
    assert len(policy.rollout.cursors[0].queue) == 2 and policy.rollout.robots[0].history.ticks == 5
    policy.reset()
    policy.select_action(recording.observation(5))
    assert policy.rollout.robots[0].history.ticks == 1


def test_a_chunk_at_hand_is_what_will_be_queued(chunk_policy):
    policy, recording = chunk_policy(inference_seed=0, seam_acceleration=0.0), Recording.random(12)
    rollout(policy, recording, 6)
    twin = copy.deepcopy(policy)
    chunk = policy.predict_action_chunk(recording.observation(6))
    assert chunk.shape == (1, policy.config.horizon, 6)
    executed = [twin.select_action(recording.observation(6 + k)) for k in range(3)]
    torch.testing.assert_close(torch.stack(executed, 1), chunk[:, :3])


def test_the_clamp_that_the_arm_obeys_is_what_is_remembered(make_config):
    history = ChunkHistory(make_config(stage="next_chunk", action_clamp_margin=0.5))
    history.add(torch.zeros(2, 3, 32, 32), torch.tensor([9.0, -9.0, 1.2, 0.3, float("nan"), 0.0]))
    assert history.commands[-1].tolist() == pytest.approx([1.5, -1.5, 1.2, 0.3, 0.0, 0.0])


def test_robots_of_a_batch_do_not_see_each_other(chunk_policy):
    policy = chunk_policy(history_latents=1)
    recordings = [Recording.random(12, seed=seed) for seed in range(3)]
    recordings[1].task = "put the green mug on the tray"
    singles = [copy.deepcopy(policy) for _ in recordings]
    for each in (policy, *singles):
        each.reset()
    for tick in range(12):
        alone = [recording.observation(tick) for recording in recordings]
        tasks = [each.pop("task") for each in alone]
        together = {key: torch.cat([each[key] for each in alone]) for key in alone[0]}
        actions = policy.select_action({**together, "task": sum(tasks, [])})
        for i, single in enumerate(singles):
            action = single.select_action({**alone[i], "task": tasks[i]})[0]
            torch.testing.assert_close(action, actions[i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"planner": "instruction"}, ["put the red cube on the blue disc"] * 4),
        ({"planner": "script", "script": ["grasp", "lift"]}, ["grasp", "lift", None, None]),
        ({"planner": "script", "script": ["grasp", "lift"], "on_plan_end": "repeat"}, ["grasp", "lift"] * 2),
        ({"planner": "grammar", "event_transitions": learn_transitions([PICK])}, [*PICKED, None]),
    ],
)
def test_each_chunk_asks_the_planner(chunk_policy, fields, expected):
    policy, recording = chunk_policy(**fields, seam_acceleration=0.0), Recording.random(12)
    policy.reset()
    captions, actions = [], []
    for tick in range(12):
        actions.append(policy.select_action(recording.observation(tick)))
        captions.append(policy.rollout.cursors[0].caption)
    assert captions[::3] == expected
    if None in expected:  # the plan is over: the last action holds
        over = captions.index(None)
        assert all(torch.equal(action, actions[over - 1]) for action in actions[over:])


def test_training_on_plain_data_takes_the_instruction_and_keeps_what_was_learnt(make_config, tiny_stats):
    grammar = learn_transitions([PICK])
    config = make_config(stage="next_chunk", planner="grammar", event_transitions=grammar)
    WallwmPolicy(config, dataset_stats=tiny_stats, dataset_meta=Recording.random(9).meta())
    assert config.planner == "instruction"
    assert config.learned.event_transitions == grammar and config.learned.fps == 10


@pytest.mark.parametrize("imagination", ["none", "anchor", "full"])
def test_every_chunk_can_be_filmed(chunk_policy, imagination):
    policy = chunk_policy(imagination=imagination, save_predicted_video=True, history_latents=2)
    recording, films = Recording.random(7), []
    policy.reset()
    for tick in range(7):
        policy.select_action(recording.observation(tick))
        if policy.last_predicted_latents is not None:
            films.append(policy.last_predicted_latents)
            policy.last_predicted_latents = None
    assert len(films) == 3
    video = policy.decode_predicted_latents(torch.cat(films, dim=2))
    assert video.shape == (3 * 9, 32, 64, 3)
    seen = torch.cat([frames[3] for frames in recording.frames.values()], dim=-1).permute(1, 2, 0)
    assert (video[9].float() - seen * 255).abs().max() <= 1.0


def test_training_steps_lower_the_loss(chunk_policy):
    policy = chunk_policy(shake=False, future_fraction=0.5)
    policy.train()
    batch = Recording.random(60).window(policy.config, [0, 5, 30, 55])
    optimizer = torch.optim.AdamW(policy.get_optim_params(), lr=3e-3)
    history = []
    for _ in range(30):
        torch.manual_seed(0)
        policy.train_steps.zero_()  # the same noise each time: the loss alone is compared
        loss, logged = policy(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.8 * history[0]
    assert set(logged) == {"loss_action", "loss_video"}
    tables = dict(policy.model.action.chunk_tables.named_parameters())
    assert len(tables) == 4 and all(table.any() for table in tables.values())


def test_unreduced_losses_average_to_the_loss(chunk_policy):
    policy = chunk_policy()
    batch = Recording.random(60).window(policy.config, [0, 5, 30, 55])
    torch.manual_seed(0)
    mean, _ = policy(batch)
    torch.manual_seed(0)
    each, _ = policy(batch, reduction="none")
    torch.testing.assert_close(each.mean(), mean)


@pytest.mark.parametrize("history", [0, 1])
def test_a_saved_policy_acts_identically(chunk_policy, tmp_path, history):
    policy, recording = chunk_policy(history_latents=history), Recording.random(9)
    policy.save_pretrained(tmp_path)
    loaded = WallwmPolicy.from_pretrained(tmp_path).eval()
    assert loaded.config.stage == "next_chunk"
    assert torch.equal(rollout(policy, recording, 9)[0], rollout(loaded, recording, 9)[0])


def test_an_event_checkpoint_starts_it(make_policy, make_config, tmp_path, caplog):
    event_policy = make_policy()
    event_policy.save_pretrained(tmp_path)
    config = make_config(stage="next_chunk", history_latents=2)
    with caplog.at_level(logging.INFO):
        policy = WallwmPolicy.from_pretrained(tmp_path, config=config)
    before, after = event_policy.state_dict(), policy.state_dict()
    fresh = after.keys() - before.keys()
    tables = ("tau_action", "tau_video", "abs_action", "abs_video")
    assert fresh == {f"model.action.chunk_tables.{name}" for name in tables}
    assert not any(after[name].any() for name in fresh)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    (line,) = [r.message for r in caplog.records if "start anew" in r.message]
    assert all(name in line for name in fresh)


def test_a_checkpoint_with_another_history_is_refused(chunk_policy, make_config, tmp_path):
    chunk_policy(history_latents=1).save_pretrained(tmp_path)
    config = make_config(stage="next_chunk", history_latents=2)
    with pytest.raises(ValueError, match=r"mis-shaped: .*chunk_tables.tau_action"):
        WallwmPolicy.from_pretrained(tmp_path, config=config)


def test_a_camera_that_comes_back_begins_the_pictures_anew(chunk_policy):
    policy, recording = chunk_policy(allow_missing_cameras=True, chunk_steps=1), Recording.random(12)
    policy.reset()
    seen = []
    for tick in range(12):
        observation = recording.observation(tick)
        if tick in (4, 5):
            del observation[list(recording.frames)[1]]
        assert torch.isfinite(policy.select_action(observation)).all()
        seen.append(len(policy.rollout.robots[0].history.frames))
    assert seen == [1, 2, 3, 4, 1, 2, 1, 2, 3, 4, 4, 4]
    assert policy.rollout.robots[0].history.ticks == 12


@pytest.mark.parametrize("history", [0, 1])
def test_larger_camera_images_are_resized(make_policy, history):
    policy = make_policy(stage="next_chunk", history_latents=history, image_shape=(3, 48, 64))
    recording = Recording.random(20)
    recording.frames = {key: torch.rand(20, 3, 48, 64) for key in recording.frames}
    assert torch.isfinite(policy(recording.window(policy.config, [0, 9]))[0])
    assert torch.isfinite(rollout(policy, recording, 4)[0]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"history_latents": -1}, "--policy.history_latents must be a finite number of at least 0, got -1"),
        ({"chunk_steps": 9}, r"--policy.chunk_steps must lie in \[0, 8\], the horizon, got 9"),
    ],
)
def test_a_wrong_value_is_named_with_its_flag(make_config, fields, message):
    with pytest.raises(ValueError, match=message):
        make_config(stage="next_chunk", **fields)
