# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What `lerobot-train --policy.push_to_hub=true` publishes at the end of a run.

LeRobot makes three commits: weights and settings, then each processor. Here the first one holds everything, so that no
reader ever finds a checkpoint without its processors; LeRobot's other two then find nothing to change.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lerobot_wallwm.hub.card.model_card import CardFacts, model_card
from lerobot_wallwm.hub.files.portable import portable
from lerobot_wallwm.hub.files.safe_settings import CONFIG, LEARNED, PROCESSORS, TRAIN_CONFIG, check_processor
from lerobot_wallwm.hub.publish.checkpoint import push_checkpoint
from lerobot_wallwm.hub.publish.staging import Extras, stage_checkpoint
from lerobot_wallwm.hub.remote.errors import HubError
from lerobot_wallwm.language.view_events import has_events, view_rows
from lerobot_wallwm.language.view_facts import ViewFacts, read_view

logger = logging.getLogger(__name__)


def push_trained(
    policy: Any,
    cfg: Any,
    state_dict: Mapping[str, Any] | None,
    dataset_meta: Any,
    read_calibration: Callable[[str], object],
) -> None:
    """Publishes a policy that has just been trained.

    Args:
        policy: With `config.repo_id`.
        cfg: LeRobot's training configuration.
        state_dict: Gathered weights (FSDP), or None.
        dataset_meta: Metadata of the training data, or None.
        read_calibration: See `stage_checkpoint`.

    Raises:
        ValueError: It cannot be published, or the Hub refused.
    """
    config = policy.config
    with TemporaryDirectory(prefix="wallwm_push_", ignore_cleanup_errors=True) as tmp:
        folder, work = Path(tmp, "checkpoint"), Path(tmp, "work")
        work.mkdir()
        policy.save_pretrained(folder, state_dict=state_dict)
        cfg.save_pretrained(folder)
        _save_processors(config, cfg, dataset_meta, folder)
        extras = Extras(view=_view(dataset_meta), license=config.license, data=_data(dataset_meta))
        try:
            files = stage_checkpoint(folder, config.repo_id, extras, work, read_calibration)
            pushed = push_checkpoint(files, config.repo_id, config.private)
        except ValueError as error:
            where = f"{cfg.output_dir}/checkpoints/last/pretrained_model"
            later = f"Or later: wallwm publish --policy.path={where} --repo_id={config.repo_id}"
            raise HubError(f"{error}. {later}") from error
    # LeRobot's remote jobs wait for this line (lerobot.jobs.hf).
    logger.info("Model pushed to %s", pushed.repo_url)


def trained_card(
    config: Any, dataset_repo_id: str | None, license: str | None, cfg: Any, dataset_meta: Any
) -> Any:
    """A `ModelCard` of what is known when a run ends: nothing was measured yet."""
    import draccus
    from lerobot.configs import PreTrainedConfig

    learned = getattr(config, "learned", None)  # of the data, apart from the fields that a person chose
    settings, _ = portable(draccus.encode(config, PreTrainedConfig), CONFIG)
    settings |= portable(asdict(learned), LEARNED)[0] if learned is not None else {}
    train = None if cfg is None else portable(draccus.encode(cfg), TRAIN_CONFIG)[0]
    data = _data(dataset_meta)
    if dataset_repo_id is not None:
        data["repo_id"] = dataset_repo_id
    view = _view(dataset_meta)
    return model_card(CardFacts(config.repo_id, settings, train, view=view, license=license, data=data))


def _save_processors(config: Any, cfg: Any, dataset_meta: Any, folder: Path) -> None:
    """The run's processors: from the checkpoint of its last step, or else as a fresh run makes them."""
    last = Path(cfg.output_dir or "", "checkpoints", "last")
    saved, step = last / "pretrained_model", last.resolve().name
    finished = bool(cfg.output_dir) and step.isdecimal() and int(step) == cfg.steps
    if finished and (saved / PROCESSORS[0]).is_file():
        for name in PROCESSORS:
            for file in (name, *check_processor(saved / name)):
                shutil.copyfile(saved / file, folder / file)
        return
    from lerobot.policies.factory import make_pre_post_processors

    for pipeline in make_pre_post_processors(config, dataset_stats=getattr(dataset_meta, "stats", None)):
        pipeline.save_pretrained(folder)


def _view(dataset_meta: Any) -> ViewFacts | None:
    root = getattr(dataset_meta, "root", None)
    if root is None or not has_events(view_rows(Path(root))):
        return None
    try:
        return read_view(Path(root))
    except ValueError as error:  # a card without event counts is better than a run that was not published
        logger.warning("The card tells no event statistics: %s", error)
        return None


def _data(dataset_meta: Any) -> dict[str, Any]:
    if dataset_meta is None:
        return {}
    return {
        "repo_id": dataset_meta.repo_id,
        "episodes": dataset_meta.total_episodes,
        "frames": dataset_meta.total_frames,
        "robot_type": dataset_meta.robot_type,
    }
