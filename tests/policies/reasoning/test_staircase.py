# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One pass over the depth equals one latent after the other, with transformers' own layers and cache."""

import copy

import pytest
import torch
from reasoning.tiny_decoders import CLASSES, WORDS, frozen
from transformers import DynamicCache

from lerobot_wallwm.policies.reasoning.decoder import Decoder
from lerobot_wallwm.policies.reasoning.shape import check_entries, entry_depths
from lerobot_wallwm.policies.reasoning.staircase import Staircase

LATENTS, PROMPT, LAYERS = 4, 11, 8
SCHEDULES = {"relay=3": (0, 3, 3, 3), "stagger=2": (0, 2, 4, 6), "queries": (0, 0, 0, 0)}


def prompt_of(decoder: Decoder, batch: int = 2, length: int = PROMPT) -> torch.Tensor:
    ids = torch.randint(3, WORDS - 20, (batch, length), generator=torch.Generator().manual_seed(1))
    return decoder.stack.embed_tokens(ids)


def branch_of(decoder: Decoder, entries: tuple[int, ...], trained_from: int = 2) -> Staircase:
    torch.manual_seed(2)
    branch = Staircase(decoder, entries, trained_from)
    with torch.no_grad():
        for weight in branch.branch.parameters():
            weight += 0.02 * torch.randn_like(weight)
    return branch.eval()


@torch.no_grad()
def reference(branch: Staircase, decoder: Decoder, embeds: torch.Tensor, off: int = 0) -> torch.Tensor:
    """Slow and obvious: latent by latent through transformers' layers, whose cache keeps what earlier ones left."""
    stack, length = decoder.stack, embeds.shape[1]
    cache = DynamicCache(config=stack.config)
    stack(inputs_embeds=embeds, past_key_values=cache, use_cache=True)
    state: dict[tuple[int, int], torch.Tensor] = {}
    for k, entry in enumerate(branch.entries):
        h = branch.start.expand(len(embeds), 1, -1) if k == 0 else state[k - 1, entry]
        h = h + branch.slots[k]
        place = torch.full((len(embeds), 1), length + k + off)
        rotary = stack.rotary_emb(h, place[None].expand(3, -1, -1) if decoder.triple else place)
        for depth in range(entry, decoder.depth):
            state[k, depth] = h
            layer = branch._layer(decoder, depth)
            h = layer(h, position_embeddings=rotary, past_key_values=cache, position_ids=place)
        state[k, decoder.depth] = h
    return branch.norm(torch.cat([state[k, decoder.depth] for k in range(len(branch.entries))], 1))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", CLASSES)
def test_one_pass_equals_latent_by_latent(name, schedule):
    decoder = Decoder(frozen(name))
    entries = entry_depths(schedule, LATENTS, LAYERS)
    assert entries == SCHEDULES[schedule]
    branch, embeds = branch_of(decoder, entries), prompt_of(decoder)
    with torch.no_grad():
        found = branch(decoder, decoder.remember(embeds)[0])
    torch.testing.assert_close(found, reference(branch, decoder, embeds), atol=1e-5, rtol=1e-5)
    # The comparison would notice: one position beside is another answer.
    assert (found - reference(branch, decoder, embeds, off=1)).abs().max() > 1e-4
    assert (found[:, 1:] - found[:, :-1]).abs().max() > 1e-2  # and the latents differ from each other


@pytest.mark.parametrize("name", CLASSES)
def test_continued_tokens_equal_the_stock_forward(name):
    """Positions at depth 0 with frozen layers are words after a prompt; Qwen3.5's own cache gets several of them wrong."""
    decoder = Decoder(frozen(name))
    embeds = prompt_of(decoder, length=PROMPT + LATENTS)
    with torch.no_grad():
        stock = decoder.stack(inputs_embeds=embeds).last_hidden_state[:, PROMPT:]
        memory, _ = decoder.remember(embeds[:, :PROMPT])
        h = embeds[:, PROMPT:]
        for depth, layer in enumerate(decoder.layers):
            h, _ = decoder.step(layer, depth, h, memory, decoder.rotary(h, memory))
        torch.testing.assert_close(decoder.stack.norm(h), stock, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_one_by_one_carries_its_own_memory(name):
    decoder = Decoder(frozen(name))
    branch, embeds = branch_of(decoder, (0,) * LATENTS), prompt_of(decoder)
    with torch.no_grad():
        memory, _ = decoder.remember(embeds)
        found = branch.one_by_one(decoder, memory)
        single = branch_of(decoder, (0,))
        single.load_state_dict({**branch.state_dict(), "slots": branch.slots[:1]})
        torch.testing.assert_close(found[:, :1], single(decoder, memory), atol=1e-6, rtol=1e-5)
        # The whole sequence as words of one prompt gives the last latent, when all layers are the frozen ones.
        plain = Staircase(decoder, (0,) * LATENTS, decoder.depth).eval()
        latents = plain.one_by_one(decoder, memory)
        starts = torch.cat((plain.start.expand(2, 1, -1), latents[:, :-1]), 1) + plain.slots
        whole = decoder.stack(inputs_embeds=torch.cat((embeds, starts), 1)).last_hidden_state[:, PROMPT:]
        torch.testing.assert_close(latents, whole, atol=1e-5, rtol=1e-5)


def test_padding_does_not_show():
    decoder = Decoder(frozen("qwen3"))
    branch, embeds = branch_of(decoder, (0, 3, 3, 3)), prompt_of(decoder)
    valid = torch.ones(2, PROMPT, dtype=torch.bool)
    valid[:, 4:6] = False
    other = embeds.clone()
    other[:, 4:6] = torch.randn(2, 2, embeds.shape[2])
    with torch.no_grad():
        latents = [branch(decoder, decoder.remember(e, valid)[0]) for e in (embeds, other)]
        unmasked = branch(decoder, decoder.remember(other)[0])
    torch.testing.assert_close(*latents, atol=1e-6, rtol=1e-6)
    assert (latents[0] - unmasked).abs().max() > 1e-3


def test_padding_before_a_delta_net_is_refused():
    decoder = Decoder(frozen("qwen3_5"))
    with pytest.raises(ValueError, match="different lengths"):
        decoder.remember(prompt_of(decoder), torch.ones(2, PROMPT, dtype=torch.bool))


@pytest.mark.parametrize("name", CLASSES)
def test_gradients_reach_prompt_start_slots_and_copies_and_never_the_frozen_layers(name):
    decoder = Decoder(frozen(name))
    branch = branch_of(decoder, (0, 2, 4, 6))
    # transformers writes the state of a Gated DeltaNet in place: no gradient passes through a prompt of Qwen3.5.
    embeds = prompt_of(decoder).requires_grad_(not decoder.has_delta_net)
    latents = branch(decoder, decoder.remember(embeds)[0])
    (latents[:, -1].square().sum() + latents[:, 0].sum()).backward()
    if not decoder.has_delta_net:
        assert embeds.grad is not None and float(embeds.grad.abs().amax(0).amin(0).max()) > 0
    for weight in (branch.start, branch.slots, *branch.branch.parameters()):
        assert weight.grad is not None and float(weight.grad.abs().sum()) > 0
    assert all(weight.grad is None for weight in decoder.stack.parameters())


def test_a_branch_begins_as_its_decoder_and_leaves_it_alone():
    decoder = Decoder(frozen("llama"))
    before = copy.deepcopy(decoder.stack.state_dict())
    branch = Staircase(decoder, (0, 3, 3), 3)
    assert len(branch.branch) == LAYERS - 3
    with torch.no_grad():
        next(branch.branch.parameters()).add_(1)
    for name, weight in decoder.stack.state_dict().items():
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize("entries", [(), (1, 2), (0, 3, 2), (0, 8)])
def test_impossible_depths_are_refused(entries):
    with pytest.raises(ValueError, match="the first must be 0"):
        check_entries(entries, LAYERS)


@pytest.mark.parametrize("schedule", ["relay", "stagger=x", "queries=2", "ladder=2", "relay=-1"])
def test_unknown_schedules_are_refused(schedule):
    with pytest.raises(ValueError, match="--policy.staircase"):
        entry_depths(schedule, LATENTS, LAYERS)


def test_a_staircase_longer_than_the_decoder_is_refused():
    with pytest.raises(ValueError, match="below the decoder's 8 layers"):
        entry_depths("stagger=3", LATENTS, LAYERS)
