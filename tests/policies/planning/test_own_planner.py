# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""planner=own: what happens next is read from what is seen, among what the checkpoint knows."""

import json

import pytest
import torch
from recordings import Recording
from tiny_arm import PICK, PICKED, TINY_TASK, grammar

from lerobot_wallwm.language.event_grammar import learn_transitions
from lerobot_wallwm.policies.encoders.hashed_words import split_words
from lerobot_wallwm.policies.planning.own_planner import OwnPlanner
from lerobot_wallwm.policies.planning.planners import GrammarPlanner

REACH, GRASP, MOVE = PICKED


class World:
    """Says what a person would who sees whether the cube is held."""

    def __init__(self):
        self.holds = False
        self.asked: list[str] = []

    def __call__(self, pictures, state, instruction, captions, after):
        self.asked.append(instruction)
        now = MOVE if self.holds else GRASP if after == REACH else REACH
        following = [-9.0] * len(captions) + [-1.0 if after == MOVE and not self.holds else -20.0]
        return [0.0 if caption == now else -5.0 for caption in captions], following if after else []


def known() -> GrammarPlanner:
    return GrammarPlanner(learn_transitions([PICK]))


def planner_of(world) -> tuple[OwnPlanner, list]:
    said: list = []
    planner = OwnPlanner(world, known(), lambda kind, **facts: said.append((kind, facts)))
    planner.begin(TINY_TASK)
    planner.see({}, torch.zeros(6), 0)
    return planner, said


def test_a_failed_grasp_leads_back_and_the_plan_ends_when_nothing_follows():
    world = World()
    planner, said = planner_of(world)
    assert [planner.next(), planner.next()] == [REACH, GRASP]
    assert [planner.next(), planner.next()] == [
        REACH,
        GRASP,
    ]  # it slipped: the result is seen, and not the plan
    world.holds = True
    assert planner.next() == MOVE
    world.holds = False
    assert planner.next() is None
    assert [facts["now"] for _, facts in said] == [REACH, GRASP, REACH, GRASP, MOVE, None]
    assert set(world.asked) == {TINY_TASK}


def test_nothing_is_proposed_before_anything_is_seen_or_beside_what_is_known():
    planner = OwnPlanner(World(), known(), lambda *_, **__: None)
    planner.begin(TINY_TASK)
    assert planner.next() is None
    assert sorted(planner.captions) == sorted(PICKED)


def test_a_plan_in_circles_ends():
    planner, _ = planner_of(World())
    assert sum(planner.next() is not None for _ in range(200)) == 64


def test_a_checkpoint_without_events_or_without_language_is_refused(make_policy):
    with pytest.raises(ValueError, match="wallwm prepare"):
        OwnPlanner(World(), None, print)
    policy = make_policy(**grammar(8, planner="own"))
    with pytest.raises(ValueError, match="stage=vlm"):
        policy.select_action(Recording.random(4).observation(0))


@pytest.fixture
def speaking(make_policy, tmp_path):
    words = sorted({word for text in (*PICKED, TINY_TASK) for word in split_words(text)})

    def build(**fields):
        log = tmp_path / "events.jsonl"
        known = grammar(8, vlm="nano", latents=4, words=words, event_log=str(log), **fields)
        return make_policy(**known), log

    return build


def test_a_rollout_asks_the_language_half_at_each_events_end(speaking):
    policy, log = speaking(planner="own")
    recording = Recording.random(40)
    recording.task = TINY_TASK
    for tick in range(40):
        assert policy.select_action(recording.observation(tick)).isfinite().all()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    said = [line for line in lines if line["kind"] == "said"]
    begun = [line["caption"] for line in lines if line["kind"] == "begin"]
    assert said and [line["now"] for line in said if line["now"]] == begun and set(begun) <= set(PICKED)


def test_the_source_of_the_text_may_change_at_every_look(speaking):
    """200 looks, each told otherwise than the last: each is what a policy that never changed would have done there."""
    policy, _ = speaking(planner="grammar")
    recording = Recording.random(8)
    recording.task = TINY_TASK
    one_look = {}
    for source in ("atomic", "instruction", "latents"):
        policy.config.text_source = source
        for tick in range(8):
            policy.reset()
            one_look[source, tick] = policy.select_action(recording.observation(tick))
    for a, b in (("atomic", "instruction"), ("atomic", "latents"), ("instruction", "latents")):
        assert any(not torch.equal(one_look[a, tick], one_look[b, tick]) for tick in range(8))
    for look in range(200):
        source, tick = ("atomic", "latents", "instruction")[look % 3], look % 8
        policy.config.text_source = source
        policy.reset()
        assert torch.equal(policy.select_action(recording.observation(tick)), one_look[source, tick])


def test_latents_without_a_language_half_are_an_error(make_policy):
    policy = make_policy(**grammar(8, text_source="latents"))
    with pytest.raises(ValueError, match="no language half"):
        policy.select_action(Recording.random(4).observation(0))
