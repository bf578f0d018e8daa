# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a policy looks at: figures by hand, and a small policy that learned to see beside the same one made blind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file
from tiny_arm import CAMERAS
from torch.utils.data import default_collate

from lerobot_wallwm.check.measure import sight as s
from lerobot_wallwm.check.measure.baselines import EventRows
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.errors import baseline_actions
from lerobot_wallwm.check.measure.measure import Measured
from lerobot_wallwm.check.measure.observations import Observations, load_observations
from lerobot_wallwm.check.measure.views import Anchor
from lerobot_wallwm.check.rules import sees

ARM = ["pan", "lift", "elbow", "flex", "roll", "gripper"]
SCENES = 20


def test_figures_by_hand():
    true = np.zeros((3, 3))
    own = np.array([[1, 3, 90], [2, 2, 90], [5, 5, 90]], dtype=float)  # the gripper does not count
    found = s.Sight(
        {s.OWN: own, s.OTHER_SCENE: 2 * own, s.HOLD: true},
        true,
        np.array(["reach", "reach", "move"]),
        np.array([4, 4, 7]),
        s.arm_of(["pan", "lift", "gripper"]),
    )
    assert found.errors(s.OWN).tolist() == [2, 2, 5]
    assert found.mean(s.OWN, "reach") == 2 and found.mean(s.OWN) == 3.5  # each kind counts alike
    assert found.times(s.OTHER_SCENE) == 2 and found.times(s.HOLD) == 0
    assert found.counts() == {"reach": 1, "move": 1}
    summary = found.summary()
    assert summary["observations"] == 3 and summary["error"][s.OTHER_SCENE] == 7
    assert summary["by_event"][s.OWN] == {"reach": 2, "move": 5}
    found.ends[s.OWN] = true
    assert found.times(s.OTHER_SCENE) == math.inf  # null in check.json
    assert s.arm_of(["gripper"]) == [0]


ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.sampled_from("kl")), min_size=1)


@given(ROWS, st.integers(0, 9))
def test_partners_are_of_another_episode_and_as_alike_as_there_are(rows, seed):
    sources, captions, kinds = map(list, zip(*rows, strict=True))
    for i, j in enumerate(s.partners(sources, captions, kinds, np.random.default_rng(seed))):
        elsewhere = [n for n in range(len(rows)) if sources[n] != sources[i]]
        alike = [n for n in elsewhere if captions[n] == captions[i]]
        alike = alike or [n for n in elsewhere if kinds[n] == kinds[i]] or elsewhere
        alike = alike or [n for n in range(len(rows)) if captions[n] != captions[i]]
        assert j in (alike or [n for n in range(len(rows)) if n != i] or [i])


@given(ROWS, st.integers(0, 9))
def test_other_captions_are_others_and_of_the_same_kind_if_there_is_one(rows, seed):
    _, captions, kinds = map(list, zip(*rows, strict=True))
    others = s.with_other_captions(captions, kinds, np.random.default_rng(seed))
    assert (others is None) == (len(set(captions)) == 1)
    for i, other in enumerate(captions[n] for n in others or []):
        same = {c for c, k in zip(captions, kinds, strict=True) if k == kinds[i] and c != captions[i]}
        assert other in (same or set(captions) - {captions[i]})


def test_only_events_whose_ends_nothing_but_pictures_tells_are_asked_about():
    def event(kind: str, source: int, start: float, end: float) -> EventRows:
        path = np.linspace(start, end, 5)[:, None]
        return EventRows(kind, kind, path[:-1], path[1:], 0, kind, source)

    ends = np.array([10.0, -40, 35, -5])
    events = [event("reach", n, 0, end) for n, end in enumerate(ends)]
    events += [event("grasp", n, end, end) for n, end in enumerate(ends)]  # stays where it is
    events += [
        event("lift", n, end, end + 30) for n, end in enumerate(ends)
    ]  # the same motion from everywhere
    events += [event("home", n, end, 0) for n, end in enumerate(ends)]  # the same end from everywhere
    events += [event("once", 9, 0, 80)]  # one episode says nothing
    rows = range(len(events))
    seen = Observations(
        [Anchor(n, 0, 0) for n in rows],
        [],
        [e.caption for e in events],
        np.stack([e.action for e in events]),
        np.ones((len(events), 4), bool),
        np.stack([e.state[0] for e in events]),
        np.full(len(events), 4.0),
    )
    guesses = baseline_actions(seen, events, None)
    assert s.kinds_that_need_eyes(seen, events, guesses, ["pan"]) == ["reach"]
    seen.remaining[:] = 5  # nothing ends within the horizon
    assert s.kinds_that_need_eyes(seen, events, guesses, ["pan"]) == []


# -- a policy that sees ------------------------------------------------------------------------------------------------


def scene(config, seed: int) -> dict:
    """An event as a view has it: the arm goes where the square is, which nothing but the picture tells."""
    rng = np.random.default_rng(seed)
    horizon, frames = config.horizon, len(config.observation_delta_indices)
    row, column = rng.integers(0, 7, 2)
    picture = torch.zeros(3, 32, 32)
    picture[:, row * 4 : row * 4 + 8, column * 4 : column * 4 + 8] = 1
    state = np.append(rng.uniform(-20, 20, 5), 50)
    goal = np.concatenate(([10 * (row - 3), 10 * (column - 3)], state[2:]))
    path = state + (goal - state) * np.arange(1, horizon + 1)[:, None] / horizon
    item = {CAMERAS[0]: picture.expand(frames, 3, 32, 32), "task": "reach for it"}
    item |= {"observation.state": torch.tensor(state).float().expand(frames, 6)}
    item |= {f"{key}_is_pad": torch.zeros(frames, dtype=torch.bool) for key in list(item) if key != "task"}
    item |= {"action": torch.tensor(path).float(), "action_is_pad": torch.zeros(horizon, dtype=torch.bool)}
    return {**item, "index": torch.tensor(0), "episode_index": torch.tensor(0)}


@pytest.fixture(scope="module")
def sighted(make_policy, tiny_stats, tmp_path_factory):
    """The folder of a policy that learned to go where the square is."""
    from lerobot_wallwm import make_wallwm_pre_post_processors

    policy = make_policy(shake=False, cameras=CAMERAS[:1], fps=10.0)
    pipelines = make_wallwm_pre_post_processors(policy.config, tiny_stats)
    optimizer = torch.optim.AdamW(policy.get_optim_params(), lr=3e-3)
    policy.train()
    for step in range(60):
        raw = [scene(policy.config, 1_000 + 8 * step + n) for n in range(8)]
        loss, _ = policy(pipelines[0](default_collate(raw)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("sighted")
    policy.save_pretrained(folder)
    for pipeline in pipelines:
        pipeline.save_pretrained(folder)
    return folder


def looked(folder, **options) -> s.Sight:
    """Measured on scenes that training has not seen."""
    checkpoint = Checkpoint(folder)
    items = [scene(checkpoint.config, seed) for seed in range(SCENES)]
    events = [
        EventRows(i["task"], "", i["observation.state"][:1].numpy(), i["action"].numpy(), n, "reach", n)
        for n, i in enumerate(items)
    ]
    seen = load_observations(checkpoint, items, events, [Anchor(n, 0, n) for n in range(SCENES)])
    return s.measure_sight(checkpoint, seen, events, ARM, **options)


def test_a_policy_that_sees_is_told_from_a_blind_one(sighted, tmp_path):
    found = looked(sighted)
    level, text = sees(Measured(sight=found))
    assert level == "yes" and "where a recorded reach ended" in text and found.times(s.OTHER_SCENE) > 2
    assert found.mean(s.OWN) < 0.6 * found.mean(s.HOLD) and found.times(s.BLANK) > 1.3
    # It looks through its landmarks: what they see is all that counts, whatever the other paths see.
    assert found.times("another scene, for the landmarks alone") > 2
    assert found.times("another scene, but not for the landmarks") < 1.3
    assert s.OTHER_CAPTION not in found.ends  # there is but one
    weights = load_file(sighted / "model.safetensors")
    for name in weights:
        if name.startswith(("model.video.patch_embedding.", "model.landmarks.stem.")):
            weights[name].zero_()
    for file in sighted.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    blind = looked(tmp_path)
    level, text = sees(Measured(sight=blind))
    assert level == "no" and "does not look" in text
    assert blind.times(s.OTHER_SCENE) == pytest.approx(1, abs=1e-3)


def test_fewer_observations_and_kinds(sighted):
    assert len(looked(sighted, at_most=5).true) == 5
    with pytest.raises(ValueError, match="no observation"):
        looked(sighted, kinds=["move"])


def test_its_own_futures_handed_on_change_nothing_and_another_events_do(sighted):
    checkpoint = Checkpoint(sighted)
    items = [scene(checkpoint.config, seed) for seed in range(4)]
    events = [EventRows("reach for it", "", np.zeros((1, 6)), item["action"].numpy()) for item in items]
    seen = load_observations(checkpoint, items, events, [Anchor(n, 0, n) for n in range(4)])
    look, own, films = s._Look(checkpoint, seen, [0, 1, 2, 3], 0), {CAMERAS[0]: [0, 1, 2, 3]}, []

    def record(future):
        films.append(future.clone())
        return future

    first = look(own, futures=record)
    assert films and all(film.shape[3] > 0 for film in films)
    again, rolled = iter(films), iter(films)
    np.testing.assert_array_equal(look(own, futures=lambda _: next(again)), first)
    assert next(again, None) is None  # as many looks as before
    assert np.abs(look(own, futures=lambda _: next(rolled).roll(1, 0)) - first).max() > 0
    assert not checkpoint.policy.model.video._forward_pre_hooks
