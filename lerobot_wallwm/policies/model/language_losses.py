# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the language half is trained on: the stages `vlm` and `staircase`, and the latents of `unified`.

    vlm         L = ||M_T(P_Q(H)) - M_T(c_text)||^2 + CE(now ; next) + 0.2 Huber(log frames left)     (paper p. 20-21)
    staircase   L = L_CoT + match                                                                       (p. 21; match is ours)
    unified     L = L_action through frozen towers + L_CoT where the data name events                  (ours)

H are the decoder's states at the words of the event's caption, c_text what the towers' text encoder makes of the same words,
M_T the video tower's own text MLP.

Shapes: B batch, K latents, L text tokens, E their width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lerobot_wallwm.policies.encoders.hashed_words import split_words
from lerobot_wallwm.policies.model.windows import EventWindows
from lerobot_wallwm.policies.reasoning.nano_vlm import trace

if TYPE_CHECKING:
    from lerobot_wallwm.policies.model.world_action_model import WorldActionModel


def language_losses(
    model: WorldActionModel, windows: EventWindows
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Losses ``(B,)`` of the stage by name, and the latents as text tokens ``(B, L, E)`` where the stage decodes any.

    Raises:
        ValueError: The data name no events, and the stage learns them.
    """
    names, reasoner = model.shape.stage.losses, model.reasoner
    assert reasoner is not None
    if windows.following is None and names & {"next", "match"}:
        raise ValueError(
            f"--policy.stage={model.shape.stage.name} learns what happens now and next, and this dataset names no events. "
            "Fix: train on a view written by `wallwm prepare`"
        )
    instructions = windows.captions if windows.instructions is None else windows.instructions
    memory, last = model.read_prompt(instructions, windows.keyframes, windows.state, windows.view_ids)
    traces = None
    if windows.following is not None:
        traces = [trace(*both) for both in zip(windows.captions, windows.following, strict=True)]
    out: dict[str, Tensor] = {}
    if "next" in names:
        assert traces is not None
        likely, counts, states = reasoner.vlm.say(memory, last, traces)
        out["next"] = -likely.sum(1) / counts.sum(1)
        out["align"] = _misaligned(model, windows.captions, states)
        left = windows.remaining.clamp_min(1).log()
        out["time"] = F.huber_loss(reasoner.vlm.log_remaining(last), left, delta=0.5, reduction="none")
        return out, None
    latents = reasoner.latents(memory)
    if "cot" in names and traces is not None:
        out["cot"] = reasoner.cot_loss(latents, traces)
    text = reasoner.as_text(latents)
    if "match" in names:
        out["match"] = _mismatch(model, windows, text)
    return out, text


def _misaligned(model: WorldActionModel, captions: list[str], states_BWD: Tensor) -> Tensor:
    """Squared distance ``(B,)`` between a caption's tokens and what P_Q makes of the decoder's states at the same words,
    both after the video tower's text MLP, per value and word."""
    assert model.reasoner is not None
    words = [len(split_words(caption)) for caption in captions]
    slots = min(model.reasoner.text_slots, states_BWD.shape[1])
    known = (
        torch.arange(slots, device=states_BWD.device) < torch.tensor(words, device=states_BWD.device)[:, None]
    )
    after = model.video.condition_embedder.text_embedder
    with torch.no_grad():
        wanted = after(model.text_encoder(captions)[:, :slots])
    error = (after(model.reasoner.project(states_BWD[:, :slots])) - wanted).square().mean(-1)
    return (error * known).sum(1) / known.sum(1).clamp_min(1)


def _mismatch(model: WorldActionModel, windows: EventWindows, text_BLE: Tensor) -> Tensor:
    """How far from each other the video tower's hidden states are with the latents and with the event's caption, ``(B,)``.

    Squared distance in units of what the caption changes: 1 is as far as the states with another sample's caption.
    """
    with torch.no_grad():
        told = model.text_encoder(windows.captions)
        wanted = _states(model, windows, told)
        # Another caption of the batch, so that the unit is what words change and not what pictures do.
        others = _states(model, windows, told.roll(1, 0))
    found = _states(model, windows, text_BLE)
    errors = [(a - b).square().flatten(1).mean(1) for a, b in zip(found, wanted, strict=True)]
    units = [(a - b).square().mean().clamp_min(1e-6) for a, b in zip(others, wanted, strict=True)]
    return torch.stack([error / unit for error, unit in zip(errors, units, strict=True)]).mean(0)


def _states(model: WorldActionModel, windows: EventWindows, text_BLE: Tensor) -> list[Tensor]:
    """What leaves each block of the video tower, of the observation alone."""
    landmarks = model.find_landmarks(windows.keyframes, text_BLE, windows.view_ids)
    seen, valid = model.encode_seen(windows.keyframes, windows.chunk)
    clean = torch.zeros(len(seen), seen.shape[3], device=seen.device)
    return model.video(
        seen,
        clean,
        text_BLE,
        valid,
        predict=False,
        view_ids=windows.view_ids,
        given=seen.shape[3],
        landmarks_BVKD=landmarks,
    ).layers
