# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The language half inside the world action model: what each stage trains, and the way from actions into the latents."""

from dataclasses import replace

import pytest
import torch
from tiny_models import SHAPE, random_event, tiny_model

from lerobot_wallwm.policies.encoders.hashed_words import split_words
from lerobot_wallwm.policies.model import objectives, sampling
from lerobot_wallwm.policies.model.language_losses import language_losses
from lerobot_wallwm.policies.reasoning.nano_vlm import THEN, trace
from lerobot_wallwm.policies.reasoning.shape import ReasonerShape
from lerobot_wallwm.policies.training.stages import STAGES

CAPTIONS = ["reach for the red cube", "grasp the red cube", "lift the red cube", "place the red cube"]
INSTRUCTIONS = [
    "put the red cube on the disc",
    "pick up the cube",
    "take the red cube and lift it",
    "place it",
]
WORDS = tuple(sorted({word for text in CAPTIONS + INSTRUCTIONS for word in split_words(text)}))
TINY = ReasonerShape(WORDS, latents=4, schedule="relay=1", width=32, depth=2, heads=2, ffn_width=48)


def model_of(stage: str, **changes):
    return tiny_model(stage=STAGES[stage], reasoner=TINY, **changes)


def windows_of(model, **changes):
    event = random_event(model.shape)
    rows = {"captions": CAPTIONS, "instructions": INSTRUCTIONS, "following": [*CAPTIONS[1:], ""]}
    return replace(event, future=event.future[:0], **rows, **changes)


def stage_loss(model, windows):
    torch.manual_seed(0)
    return objectives.losses(model, windows).weighted(model.shape.stage.losses)


@pytest.mark.parametrize(
    ("stage", "parts"),
    [("vlm", {"vlm", "project"}), ("staircase", {"stairs", "prefix"}), ("unified", {"stairs", "project"})],
)
def test_a_stage_trains_its_parts_and_no_other(stage, parts):
    model = model_of(stage).train()
    assert {name for name, part in model.parts().items() if part.training} == parts
    loss, logged = stage_loss(model, windows_of(model))
    assert set(logged) == STAGES[stage].losses and loss.isfinite()
    loss.backward()
    learns = {
        name for name, part in model.parts().items() if any(p.grad is not None for p in part.parameters())
    }
    assert learns == parts
    for name in parts:
        for key, weight in model.parts()[name].named_parameters():
            assert not weight.requires_grad or float(weight.grad.abs().sum()) > 0, f"{name}.{key}"


def test_actions_teach_the_latents_through_the_frozen_towers_and_by_no_other_way(monkeypatch):
    """M1: the gradient exists, is right, and stands or falls with the video tower's graph."""
    model = model_of("unified", max_chunks=4, landmarks=0)
    assert model.reasoner is not None
    windows = windows_of(model)
    names = frozenset({"action"})

    def loss():
        torch.manual_seed(0)
        return objectives.losses(model, windows).weighted(names)[0]

    loss().backward()
    frozen = [
        p for name in ("video", "action", "text", "vlm", "prefix") for p in model.parts()[name].parameters()
    ]
    assert all(p.grad is None for p in frozen)
    learning = [p for name in ("stairs", "project") for p in model.parts()[name].parameters()]
    assert all(float(p.grad.abs().sum()) > 0 for p in learning)

    # Its size: what the loss does along random directions.
    for seed in (2, 3):
        generator = torch.Generator().manual_seed(seed)
        ways = [torch.randn(p.shape, generator=generator) * p.detach().abs().mean() for p in learning]
        analytic = sum(float((p.grad * way).sum()) for p, way in zip(learning, ways, strict=True))
        eps, sides = 3e-3, []
        with torch.no_grad():
            for sign in (1, -2, 1):  # from the middle to one side, over to the other, and back
                for p, way in zip(learning, ways, strict=True):
                    p.add_(way, alpha=sign * eps)
                sides.append(float(loss()))
        assert (sides[0] - sides[1]) / (2 * eps) == pytest.approx(analytic, rel=0.02)

    # The control: a video tower without a graph leaves nothing to learn from.
    whole = type(model.video).forward
    monkeypatch.setattr(type(model.video), "forward", torch.no_grad()(whole))
    assert not loss().requires_grad


def test_unified_lowers_its_loss_and_leaves_the_towers_bit_for_bit():
    model = model_of("unified", max_chunks=4)
    windows = windows_of(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer, actions = torch.optim.Adam(learning, lr=3e-3), []
    for _ in range(50):
        loss, parts = stage_loss(model, windows)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        actions.append(float(parts["action"]))
    assert actions[-1] < 0.9 * actions[0]
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith(("reasoner.stairs.", "reasoner.project.")) for name in moved)


def test_the_vlm_learns_to_say_what_happens():
    model = model_of("vlm")
    windows = windows_of(model)
    assert model.reasoner is not None
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(150):
        loss, _ = stage_loss(model, windows)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        memory, last = model.read_prompt(INSTRUCTIONS, windows.keyframes, windows.state, None)
        said = model.reasoner.vlm.spell(memory, last)
    assert said == [" ".join(trace(*both)) for both in zip(CAPTIONS, windows.following, strict=True)]
    one, _ = model.read_prompt(INSTRUCTIONS[:1], windows.keyframes[:1], windows.state[:1], None)
    now = [[*split_words(caption), THEN] for caption in CAPTIONS]
    with torch.no_grad():
        scores = model.reasoner.likelihoods(one, last[:1], now, ends=False)
        assert int(scores.argmax()) == 0 and float(scores.max()) > -0.5
        after = [trace(CAPTIONS[0], caption) for caption in (*CAPTIONS, "")]
        assert int(model.reasoner.likelihoods(one, last[:1], after, ends=True).argmax()) == 1


def test_latents_learn_to_be_read_back_and_to_stand_in_for_captions():
    model = model_of("staircase")
    windows = windows_of(model)
    assert model.reasoner is not None
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    first = {}
    for _ in range(60):
        loss, parts = stage_loss(model, windows)
        first = first or {name: float(part) for name, part in parts.items()}
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(float(parts[name]) < 0.7 * first[name] for name in first)


def test_the_match_is_zero_with_the_captions_own_tokens_and_not_with_anothers():
    from lerobot_wallwm.policies.model.language_losses import _mismatch

    model = model_of("staircase")
    windows = windows_of(model)
    tokens = model.text_encoder(windows.captions)
    assert float(_mismatch(model, windows, tokens).abs().max()) < 1e-9
    assert float(_mismatch(model, windows, tokens.roll(1, 0)).mean()) == pytest.approx(1.0, rel=0.05)


def test_latents_take_the_place_of_the_caption_and_nothing_else_changes():
    model = model_of("unified")
    windows = windows_of(model)
    told = {"here": windows.here, "num_steps": 1}
    look = windows.keyframes, windows.state

    def plan(captions):
        noise = torch.Generator().manual_seed(0)
        return sampling.plan(model, *look, captions, generator=noise, **told)

    words, latents = plan(INSTRUCTIONS), plan(model.decode_latents(INSTRUCTIONS, *look))
    assert (words.actions - latents.actions).abs().max() > 1e-3
    assert torch.equal(plan(model.text_encoder(INSTRUCTIONS)).actions, words.actions)
    text = model.decode_latents(INSTRUCTIONS, *look)
    assert text.shape == (4, SHAPE.max_text_tokens, SHAPE.video.text_dim)
    assert not text[:, TINY.latents :].any()


def test_an_instruction_is_read_once_in_a_rollout_and_by_itself():
    model = model_of("unified")
    windows = windows_of(model)
    look = windows.keyframes, windows.state
    with torch.no_grad():
        together = model.decode_latents(INSTRUCTIONS, *look)
        assert model.reasoner.vlm._instructions[0] == tuple(INSTRUCTIONS)
        again = model.decode_latents(INSTRUCTIONS, *look)
        alone = model.decode_latents(INSTRUCTIONS[:1], look[0][:1], look[1][:1])
    assert torch.equal(together, again)
    # Neighbours of other lengths do not show.
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-5)


def test_data_without_events_cannot_teach_words():
    model = model_of("vlm")
    with pytest.raises(ValueError, match="wallwm prepare"):
        language_losses(model, replace(windows_of(model), following=None))


def test_a_checkpoint_without_latents_says_so():
    model = tiny_model(reasoner=replace(TINY, latents=0))
    windows = windows_of(model)
    with pytest.raises(ValueError, match="stage=staircase"):
        model.decode_latents(INSTRUCTIONS, windows.keyframes, windows.state)
    with pytest.raises(ValueError, match="no language half"):
        tiny_model().decode_latents(INSTRUCTIONS, windows.keyframes, windows.state)


def test_more_latents_than_text_tokens_are_refused():
    with pytest.raises(ValueError, match="at most that many"):
        tiny_model(reasoner=replace(TINY, latents=9))


def test_unknown_words_are_named():
    model = model_of("vlm")
    windows = windows_of(model)
    with pytest.raises(ValueError, match="cannot say zebra"):
        language_losses(model, replace(windows, captions=["reach for the zebra", *CAPTIONS[1:]]))
