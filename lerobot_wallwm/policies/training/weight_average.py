# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Exponential moving average of the weights that a stage trains (paper p. 20: 0.9999, updated every step).

The averages are float32 buffers under ``ema.<stage>.<parameter, dots as slashes>``: LeRobot saves one safetensors file,
so they must be part of the policy to survive resuming. Ours for that reason: diffusers' EMAModel is no module and keeps
averages in the weights' own precision, torch's AveragedModel copies the whole model, frozen towers too, and neither
can be shown in the model's place and saved in that state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

PREFIX = "ema."


class WeightAverage(nn.Module):
    """The average of a model's trainable parameters.

    The first steps count for more than ``1 - decay``: the factor is ``min(decay, (1 + n) / (10 + n))`` after n updates,
    as in diffusers' EMAModel. Our choice: a short run would otherwise end with the weights that it began with. While
    the averages are shown, the live weights are set aside, at the trained parameters' cost.

    Args:
        model: Whose parameters with ``requires_grad`` are averaged.
        decay: Greatest factor of the old average.
    """

    updates: Tensor

    def __init__(self, model: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        self.names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        for name, parameter in self._trained(model).items():
            self.register_buffer(_as_buffer(name), parameter.detach().float().clone())
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._live: dict[str, Tensor] = {}

    def _trained(self, model: nn.Module) -> dict[str, nn.Parameter]:
        parameters = dict(model.named_parameters())
        return {name: parameters[name] for name in self.names}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the model's weights, after an optimiser step.

        Raises:
            RuntimeError: The model shows its averages, or its parameters are shards.
        """
        if self._live:
            raise RuntimeError("The weights shown are averages: call train() before update().")
        count = int(self.updates)
        factor = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        for name, parameter in self._trained(model).items():
            average = self.get_buffer(_as_buffer(name))
            if average.shape != parameter.shape:
                raise RuntimeError(
                    f"'{name}' has shape {tuple(parameter.shape)}, its average {tuple(average.shape)}: sharded "
                    "parameters (FSDP) cannot be averaged. Fix: --policy.ema_decay=0."
                )
            average.lerp_(parameter.detach().float(), 1 - factor)
        self.updates += 1

    @torch.no_grad()
    def show(self, model: nn.Module, averages: bool) -> None:
        """Puts the averages in the place of the live weights, or the live weights back; nothing before any update."""
        if averages == bool(self._live) or (averages and not int(self.updates)):
            return
        trained = self._trained(model)
        if averages:
            self._live = {name: parameter.detach().clone() for name, parameter in trained.items()}
            for name, parameter in trained.items():
                parameter.copy_(self.get_buffer(_as_buffer(name)))
        else:
            for name, parameter in trained.items():
                parameter.copy_(self._live[name])
            self._live = {}

    @torch.no_grad()
    def begin(self, model: nn.Module) -> None:
        """Begins anew with the weights that the model shows."""
        self._live = {}
        for name, parameter in self._trained(model).items():
            setattr(self, _as_buffer(name), parameter.detach().float().clone())  # it may have been on meta
        self.updates = torch.zeros_like(self.updates, device=parameter.device)

    def live(self) -> dict[str, Tensor]:
        """The live weights by name while the averages are shown, else nothing."""
        return self._live


def names_after_averages(
    keys: Collection[str], updates: Mapping[str, int], prefix: str, running: Collection[str]
) -> dict[str, str]:
    """Where the tensors of a checkpoint go: averages of finished stages become the weights that the next starts from.

    Args:
        keys: Of the checkpoint.
        updates: Values of its keys that end in ``.updates``.
        prefix: Of the averaged model's parameters in it, with the dot.
        running: Stages whose averages go on.

    Returns:
        Keys of the policy by keys of the checkpoint; what the averages replace is left out.
    """
    names = {key: key for key in keys}
    for key in keys:
        if not key.startswith(PREFIX):
            continue
        stage, name = key.removeprefix(PREFIX).split(".", 1)
        if stage in running:
            continue
        del names[key]
        weight = prefix + name.replace("/", ".")
        if name != "updates" and updates[f"{PREFIX}{stage}.updates"] and weight in names:
            del names[weight]
            names[key] = weight
    return names


def _as_buffer(name: str) -> str:
    return name.replace(".", "/")  # torch allows no dots in a buffer's name
