# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A text decoder of transformers, layer by layer: the only file that knows what is inside one.

Staircase Decoding lets positions enter at any depth, which no `forward` of transformers offers. The prompt goes through the
stock forward and leaves its memory; the positions after it go through single layers, which read that memory and never
write to it, so that gradients pass and one memory serves many readers.

Shapes: B batch, P prompt tokens, S new positions, D width, H heads, d head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Memory:
    """What a sequence left in each layer.

    Attributes:
        layers: Keys and values ``(B, H, P, d)``; of a Gated DeltaNet, the last inputs of its convolution
            ``(B, C, kernel - 1)`` and its state ``(B, H, d, d)``.
        mask: ``(B, 1, 1, P)``, minus infinity at padding and zero elsewhere.
        next_position: ``(B, 1)`` rotary position of what comes next.
    """

    layers: list[tuple[Tensor, Tensor]]
    mask: Tensor
    next_position: Tensor


class Decoder:
    """The text half of a vision-language or language model of transformers. Holds no weights of its own.

    Args:
        model: Qwen3, Llama and what is built like them, by themselves or inside Qwen3-VL, Qwen2.5-VL, Qwen3.5 or SmolVLM.

    Raises:
        ValueError: The model has layers whose memory is not understood here.
    """

    def __init__(self, model: nn.Module):
        stack: Any = getattr(model, "model", model)
        for name in ("language_model", "text_model"):
            stack = getattr(stack, name, stack)
        self.stack = stack
        config = stack.config
        kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
        if unknown := kinds - {"full_attention", "linear_attention"}:
            raise ValueError(
                f"{type(model).__name__}: layers of kind {', '.join(sorted(unknown))} cannot be continued after a prompt. "
                "Fix: choose a model of full attention, or Qwen3.5"
            )
        self.has_delta_net = "linear_attention" in kinds
        # Rotary positions of these are triples (time, height, width); those of text are three times the same.
        self.triple = "mrope_section" in (getattr(config, "rope_parameters", None) or {})
        self.width, self.depth = int(config.hidden_size), len(stack.layers)

    @property
    def layers(self) -> nn.ModuleList:
        """From the first to the last."""
        return self.stack.layers

    def remember(
        self, embeds_BPD: Tensor, valid_BP: Tensor | None = None, position_ids: Tensor | None = None
    ) -> tuple[Memory, Tensor]:
        """Runs a prompt through the stock forward.

        Args:
            embeds_BPD: The prompt, embedded.
            valid_BP: False at padding; None for none.
            position_ids: ``(B, P)``, or ``(3, B, P)`` for pictures of a Qwen-VL; None counts.

        Returns:
            The memory, and the last hidden states ``(B, P, D)``, normed.

        Raises:
            ValueError: Padding before a Gated DeltaNet, whose state it would enter.
        """
        batch, length = embeds_BPD.shape[:2]
        if valid_BP is not None and self.has_delta_net:
            raise ValueError(
                "prompts of different lengths cannot share a batch in a model with Gated DeltaNet layers"
            )
        if position_ids is None:
            position_ids = torch.arange(length, device=embeds_BPD.device).expand(batch, length)
        out = self.stack(
            inputs_embeds=embeds_BPD,
            attention_mask=None if valid_BP is None else valid_BP.long(),
            position_ids=position_ids[None].expand(3, -1, -1)
            if self.triple and position_ids.ndim == 2
            else position_ids,
            use_cache=True,
        )
        layers = []
        for kept in out.past_key_values.layers:
            if hasattr(kept, "recurrent_states"):
                layers.append((kept.conv_states[:, :, 1:], kept.recurrent_states))
            else:
                layers.append((kept.keys, kept.values))
        mask = embeds_BPD.new_zeros(batch, 1, 1, length)
        if valid_BP is not None:
            mask = mask.masked_fill(~valid_BP[:, None, None], torch.finfo(mask.dtype).min)
        last = position_ids.amax(0) if position_ids.ndim == 3 else position_ids
        return Memory(layers, mask, last.amax(1, keepdim=True) + 1), out.last_hidden_state

    def go_on(self, memory: Memory, embeds_BSD: Tensor) -> tuple[Memory, Tensor]:
        """Runs more tokens after a memory, which stays as it is: the memory of all, and their last states, normed."""
        h, rotary, layers = embeds_BSD, self.rotary(embeds_BSD, memory), []
        for depth, layer in enumerate(self.layers):
            h, kept = self.step(layer, depth, h, memory, rotary)
            layers.append(kept)
        steps = embeds_BSD.shape[1]
        mask = F.pad(memory.mask, (0, steps))
        return Memory(layers, mask, memory.next_position + steps), self.stack.norm(h)

    def rotary(self, h_BSD: Tensor, memory: Memory) -> Any:
        """Rotary factors of the S positions that follow a memory."""
        positions = memory.next_position + torch.arange(h_BSD.shape[1], device=h_BSD.device)
        return self.stack.rotary_emb(h_BSD, positions[None].expand(3, -1, -1) if self.triple else positions)

    def step(
        self, layer: Any, depth: int, h_BSD: Tensor, memory: Memory, rotary: Any
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One layer over S positions after a memory, causal among themselves.

        Args:
            layer: Of this decoder, or a copy of one with other weights.
            depth: Its place in the stack.
            h_BSD: What enters it.
            memory: Of all that came before; left as it is.
            rotary: From `rotary`, of these positions or of more.

        Returns:
            What leaves it, and this layer's memory with these positions.
        """
        kept = memory.layers[depth]
        if getattr(layer, "layer_type", "") == "linear_attention":
            mixed, after = _delta_net(layer.linear_attn, layer.input_layernorm(h_BSD), *kept)
            h = h_BSD + mixed
            return h + layer.mlp(layer.post_attention_layernorm(h)), after
        steps, before = h_BSD.shape[1], kept[0].shape[2]
        mask = h_BSD.new_zeros(len(h_BSD), 1, steps, before + steps)
        mask[..., : memory.mask.shape[-1]] = memory.mask
        later = torch.ones(steps, steps, dtype=torch.bool, device=h_BSD.device).triu(1)
        mask[..., before:] = mask[..., before:].masked_fill(later, torch.finfo(mask.dtype).min)
        through = _ReadThrough(kept)
        rotary = tuple(factor[..., :steps, :] for factor in rotary)
        h = layer(h_BSD, attention_mask=mask, position_embeddings=rotary, past_key_values=through)
        return h[0] if isinstance(h, tuple) else h, through.after


class _ReadThrough:
    """In the place of transformers' cache: shows what was and what is new, and changes neither."""

    def __init__(self, before: tuple[Tensor, Tensor]):
        self.before = self.after = before

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.after = torch.cat((self.before[0], keys), 2), torch.cat((self.before[1], values), 2)
        return self.after


def _delta_net(
    net: Any, x_BSD: Tensor, tail_BCK: Tensor, state: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Qwen3.5's Gated DeltaNet over several positions after a state.

    transformers 5.5.4 goes on from a state for one position at a time; given several, it silently begins from nothing.
    """
    batch, steps, _ = x_BSD.shape
    inputs = torch.cat((tail_BCK, net.in_proj_qkv(x_BSD).transpose(1, 2)), 2)
    mixed = F.silu(F.conv1d(inputs, net.conv1d.weight, net.conv1d.bias, groups=net.conv_dim)).transpose(1, 2)
    query, key, value = mixed.split((net.key_dim, net.key_dim, net.value_dim), -1)
    shared = net.num_v_heads // net.num_k_heads
    query, key = (
        part.reshape(batch, steps, -1, net.head_k_dim).repeat_interleave(shared, 2) for part in (query, key)
    )
    decay = -net.A_log.float().exp() * F.softplus(net.in_proj_a(x_BSD).float() + net.dt_bias)
    out, after = net.recurrent_gated_delta_rule(
        query,
        key,
        value.reshape(batch, steps, -1, net.head_v_dim),
        g=decay,
        beta=net.in_proj_b(x_BSD).sigmoid(),
        initial_state=state,
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )
    gate = net.in_proj_z(x_BSD).reshape(-1, net.head_v_dim)
    out = net.norm(out.reshape(-1, net.head_v_dim), gate).reshape(batch, steps, -1)
    return net.out_proj(out), (inputs[:, :, -tail_BCK.shape[2] :], after)
