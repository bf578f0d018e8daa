# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Exponential moving average of the weights that a stage trains (paper p. 20: 0.9999, updated every step).

The averages are float32 tables under ``ema.<stage>.<parameter, dots as slashes>``: LeRobot saves one safetensors file,
so they must be part of the policy to survive resuming, and FSDP casts buffers to a dtype in which an average stands still. Ours for that reason: diffusers' EMAModel is no module and keeps
averages in the weights' own precision, torch's AveragedModel copies the whole model, frozen towers too, and neither
can be shown in the model's place and saved in that state.

Under FSDP each rank averages its own pieces, and `WeightAverage.outside` puts them together for a checkpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from lerobot_wallwm.hub.files.tables import Tables
from lerobot_wallwm.policies.training.shards import Pieces, local, plain_name

PREFIX = "ema."


class WeightAverage(Tables):
    """The average of a model's trainable parameters.

    The first steps count for more than ``1 - decay``: the factor is ``min(decay, (1 + n) / (10 + n))`` after n updates,
    as in diffusers' EMAModel. Our choice: a short run would otherwise end with the weights that it began with. While
    the averages are shown, the live weights are set aside, at the trained parameters' cost.
    ``decay`` is the greatest factor of the old average.
    """

    updates: Tensor

    def __init__(self, model: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        self.names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        averages = {_key(name): weight.float().clone() for name, weight in self._trained(model).items()}
        self.keep(True, **averages, updates=torch.zeros((), dtype=torch.long))
        self._live: dict[str, Tensor] = {}
        self._pieces: Pieces | None = None

    def _trained(self, model: nn.Module) -> dict[str, Tensor]:
        """What lies of the averaged parameters on this rank."""
        parameters = {plain_name(name): parameter for name, parameter in model.named_parameters()}
        if missing := [name for name in self.names if name not in parameters]:
            raise RuntimeError(
                f"'{missing[0]}' is no parameter any more: FSDP has put it into a flat one. Fix: fsdp_use_orig_params: "
                "true in accelerate's configuration."
            )
        return {name: local(parameters[name].detach()) for name in self.names}

    def follow(self, model: nn.Module) -> None:
        """Keeps this rank's pieces alone, once the model's parameters are sharded; a collective of all ranks then."""
        if self._pieces is not None:
            return
        trained = self._trained(model)
        if all(self._average(name).shape == weight.shape for name, weight in trained.items()):
            return
        shapes = [self._average(name).shape for name in self.names]
        self._pieces = pieces = Pieces(list(trained.values()), shapes)
        for index, (name, weight) in enumerate(trained.items()):
            average = pieces.cut(index, self._average(name))
            setattr(self, _key(name), average.to(weight.device, copy=True).view_as(weight))
            if self._live:  # a checkpoint that has just been loaded shows its averages
                live = pieces.cut(index, self._live[name])
                self._live[name] = live.to(weight.device, copy=True).view_as(weight)

    def _average(self, name: str) -> Tensor:
        return getattr(self, _key(name))

    def outside(self) -> dict[str, Tensor]:
        """What a checkpoint needs besides the model's state and this module's own.

        The live weights while averages are shown, by their names with ``model.``; and of pieces the whole averages, by their
        keys. Of pieces it is a collective of all ranks: rank 0 gets them, in the CPU's memory.
        """
        if self._pieces is None:
            return {"model." + name: weight for name, weight in self._live.items()}
        out = {}
        for index, name in enumerate(self.names):
            wanted = {_key(name): self._average(name)}
            if self._live:
                wanted["model." + name] = self._live[name]
            for key, piece in wanted.items():
                out[key] = self._pieces.whole(index, piece, to=0).cpu()
        return out

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the model's weights, after an optimiser step.

        Raises:
            RuntimeError: The model shows its averages, or FSDP hides its parameters.
        """
        if self._live:
            raise RuntimeError("The weights shown are averages: call train() before update().")
        self.follow(model)
        count = int(self.updates)
        factor = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        for name, weight in self._trained(model).items():
            self._average(name).lerp_(weight.float(), 1 - factor)
        self.updates += 1

    @torch.no_grad()
    def show(self, model: nn.Module, averages: bool) -> None:
        """Puts the averages in the place of the live weights, or the live weights back; nothing before any update."""
        if not averages:
            self.follow(model)
        if averages == bool(self._live) or (averages and not int(self.updates)):
            return
        trained = self._trained(model)
        if averages:
            self._live = {name: weight.clone() for name, weight in trained.items()}
            for name, weight in trained.items():
                weight.copy_(self._average(name))
        else:
            for name, weight in trained.items():
                weight.copy_(self._live[name])
            self._live = {}

    @torch.no_grad()
    def begin(self, model: nn.Module) -> None:
        """Begins anew with the weights that the model shows."""
        self._live = {}
        for name, weight in self._trained(model).items():
            setattr(self, _key(name), weight.float().clone())  # it may have been on meta
        self.updates = torch.zeros_like(self.updates, device=weight.device)


def names_after_averages(
    keys: Collection[str], updates: Mapping[str, int], prefix: str, running: Collection[str]
) -> dict[str, str]:
    """Where the tensors of a checkpoint go: averages of finished stages become the weights that the next starts from.

    Args:
        updates: Values of the keys that end in ``.updates``.
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


def _key(name: str) -> str:
    return name.replace(".", "/")  # so that what stands before the last dot is the module
