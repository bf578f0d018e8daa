# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LoRA and its relatives (LeRobot's ``--peft.*``): what is adapted, what is trained whole, and what travels along.

An adapter's folder holds the adapter and `config.json` as LeRobot writes them, and `learned.json`. Units and ranges of the
dataset it was trained on are among its weights; at loading they take the place of the base's, which are another dataset's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lerobot_wallwm.hub.files.safe_files import is_repo_id, read_object
from lerobot_wallwm.hub.files.weights import WeightsError, contents
from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.training.shards import fsdp_version
from lerobot_wallwm.policies.training.stages import Stage

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
# Small, and of this arm and this stage; what is random in a checkpoint of another stage is among them.
_WHOLE = {
    "video": ("video.camera_rope", "video.proj_out"),
    "action": tuple(
        f"action.{part}"
        for part in (
            *("encoder", "time_embedder", "tau_action", "tau_video", "chunk_tables"),
            *("norm_out", "head", "along", "remaining_head"),
        )
    ),
    "text": ("text_encoder",),
    "landmarks": ("landmarks",),
    "goal": ("goal_head",),
}


def adapter_targets(policy: nn.Module, stage: Stage) -> dict[str, Any]:
    """Defaults for LeRobot: the blocks' matrices are adapted; heads, tables of modules and units are trained or kept whole.

    An action tower that has never learned (its last layer is zero, after stage ``video`` or from base weights) is
    trained whole: there is nothing to adapt.

    Raises:
        ValueError: There is nothing to adapt.
    """
    model = policy.get_submodule("model")
    untaught = not bool(policy.get_parameter("model.action.head.2.weight").any())
    whole, adapted = ["action_space"], []
    for part, modules in _WHOLE.items():
        if part not in stage.trains:
            continue
        if part == "action" and untaught:
            modules = ("action",)
        elif part in ("video", "action"):
            adapted.append(part)
        own = [name for name, _ in model.named_parameters()]
        whole += [f"model.{name}" for name in modules if any(key.startswith(f"{name}.") for key in own)]
    towers = tuple(f"model.{part}.blocks." for part in adapted)
    linear = [
        name for name, m in policy.named_modules() if isinstance(m, nn.Linear) and name.startswith(towers)
    ]
    if not linear:
        raise ValueError(
            f"--peft.*: in --policy.stage={stage.name} nothing of this checkpoint can be adapted, because its action tower "
            "has never learned. Fix: train the stage without --peft.*, the video tower is frozen in it anyway."
        )
    return {"target_modules": linear, "modules_to_save": whole}


def adapter_folder(config: Any, base: str | Path) -> Path | None:
    """The folder of the adapter that LeRobot is about to put onto the policy ``base``; None where it loads none.

    Raises:
        WeightsError: The adapter is on the Hub, is not safetensors, or its base is missing.
    """
    if config is None or not config.use_peft or config.pretrained_path is None:
        return None
    folder = Path(config.pretrained_path)
    if not folder.is_dir():
        problem = "is no folder; an adapter's units and ranges are read from one."
        raise WeightsError(folder, problem, f"`hf download {folder} --local-dir DIR`, then --policy.path=DIR")
    if not (folder / WEIGHTS).is_file():
        problem = "is missing; adapters in other formats (.bin) are not opened."
        raise WeightsError(folder / WEIGHTS, problem, "choose a checkpoint that LeRobot wrote with --peft.*")
    if not Path(base).is_dir() and not is_repo_id(str(base)):
        problem = f"'base_model_name_or_path' is {base}, which is not there: an adapter is nothing without its base."
        fix = "put the base checkpoint back, or write its new place into that file"
        raise WeightsError(folder / SETTINGS, problem, fix, ["base_model_name_or_path"])
    read_object(folder / SETTINGS)
    return folder


def lay_base(policy: nn.Module) -> None:
    """Puts the matrices below an adapter in bfloat16: they never learn, and are most of the memory.

    Not where FSDP will flatten a block, which asks for one dtype.
    """
    if fsdp_version() is not None:
        return
    for name, module in policy.named_modules():
        if name.endswith(".base_layer") and isinstance(module, nn.Linear):
            module.to(torch.bfloat16)


@torch.no_grad()
def take_units(space: ActionSpace, folder: Path, fix: str) -> None:
    """Copies the adapter's units and ranges into the policy's `ActionSpace`, in place: guards and reader share it.

    Raises:
        WeightsError: The adapter has none, or of other sizes.
    """
    file, buffers = folder / WEIGHTS, dict(space.tables())
    contents([file], fix)
    saved = load_file(file)
    ours = {name: key for key in saved for name in buffers if key.endswith(f"action_space.{name}")}
    if missing := sorted(buffers.keys() - ours.keys()):
        raise WeightsError(file, f"holds no units of actions ({', '.join(missing)}).", fix, missing)
    for name, buffer in buffers.items():
        value = saved[ours[name]]
        if value.shape != buffer.shape:
            reason = f"'{ours[name]}' has shape {tuple(value.shape)}, the policy's {tuple(buffer.shape)}."
            raise WeightsError(file, reason, fix, [ours[name]])
        buffer.copy_(value)
