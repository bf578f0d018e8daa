# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint made ready to publish: checked, freed of this machine's paths, with its card and figures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lerobot_wallwm.hub.card.check_report import read_check
from lerobot_wallwm.hub.card.model_card import CardFacts, WeightsFacts, model_card, read_evaluations
from lerobot_wallwm.hub.files.backbones import BACKBONES, BackboneSource
from lerobot_wallwm.hub.files.portable import portable
from lerobot_wallwm.hub.files.safe_files import COMMIT, UnsafeCheckpointError, read_object, tensor_shapes
from lerobot_wallwm.hub.files.safe_settings import (
    CONFIG,
    LEARNED,
    PROCESSORS,
    TRAIN_CONFIG,
    WEIGHTS,
    check_checkpoint,
    check_processor,
    check_settings,
)
from lerobot_wallwm.hub.files.weights import WeightsError, require_finite_weights
from lerobot_wallwm.hub.remote.errors import patiently
from lerobot_wallwm.hub.remote.pull import CARD
from lerobot_wallwm.language.view_facts import ViewFacts
from lerobot_wallwm.storage.fingerprint import sha256_of

CALIBRATION = "calibration.json"
# What a publication owns in its repository; see `push_files`.
MANAGED = (CALIBRATION, "policy_preprocessor*", "policy_postprocessor*", "figures/*.png", "*.safetensors")


@dataclass(frozen=True)
class Extras:
    """What goes with a checkpoint."""

    check: Path | None = None  # folder of `wallwm check`, or None
    evaluations: Sequence[str] = ()
    view: ViewFacts | None = None  # facts of the training data, or None
    license: str | None = None  # as the publisher states it; None takes `config.json`'s
    data: Mapping[str, Any] | None = None
    dataset: str | None = None  # what it is called on the Hub; None where nobody says that it is there


def stage_checkpoint(
    folder: Path, repo_id: str, extras: Extras, work: Path, read_calibration: Callable[[str], object]
) -> dict[str, Path]:
    """Checks a checkpoint and writes what differs from it in its published form.

    Args:
        folder: `pretrained_model` of a LeRobot checkpoint; it is not changed.
        repo_id: Where it will be published.
        extras: See `Extras`.
        work: Empty folder for what is written.
        read_calibration: Reads a calibration file's text and raises ValidationError where it is none: whatever else
            the configuration names is not published.

    Returns:
        Files by their path in the repository.

    Raises:
        ValueError: Something is absent, unsafe, or not this checkpoint's; the message names file and fix.
    """
    names = [file.name for file in folder.iterdir() if file.is_file()]
    config = check_checkpoint(folder, names, foreign=False)
    for name in PROCESSORS:
        if name not in names:
            fix = "give --policy.path the folder pretrained_model of a checkpoint that lerobot-train wrote"
            raise UnsafeCheckpointError(folder / name, "there is no such file.", fix)
    weights_file = folder / WEIGHTS
    require_finite_weights(weights_file, weights_file, "publish a checkpoint from before the training failed")
    sha256 = sha256_of(weights_file)
    files = {WEIGHTS: weights_file}
    for name in PROCESSORS:
        files[name] = folder / name
        files |= {state: folder / state for state in check_processor(folder / name)}

    calibration = config.get("calibration")
    public, _ = portable({**config, "repo_id": repo_id}, CONFIG)
    public |= _pinned_backbone(config)
    if calibration is not None:
        files[CALIBRATION] = _calibration(folder, calibration, read_calibration)
        public["calibration"] = CALIBRATION
    files[CONFIG] = _write(work / CONFIG, public)
    learned = portable(read_object(folder / LEARNED), LEARNED)[0] if LEARNED in names else {}
    if learned:
        files[LEARNED] = _write(work / LEARNED, learned)
    check_settings(work, files)
    train, from_folder = None, False
    if TRAIN_CONFIG in names:
        train, left_out = portable(read_object(folder / TRAIN_CONFIG), TRAIN_CONFIG)
        if isinstance(train.get("policy"), dict):
            train["policy"] |= {
                key: public[key] for key in ("backbone_path", "backbone_revision") if key in public
            }
        from_folder = "dataset.root" in left_out and not extras.dataset
        files[TRAIN_CONFIG] = _write(work / TRAIN_CONFIG, train)

    if CARD in names and not config.get("output_features"):
        return files | {
            CARD: folder / CARD
        }  # base weights know no arm, data or run that our card could tell of

    report, figures = (None, []) if extras.check is None else read_check(extras.check, sha256)
    placed = {f"figures/{re.sub(r'[^A-Za-z0-9_-]+', '_', figure.stem)}.png": figure for figure in figures}
    if len(placed) < len(figures):
        raise ValueError(f"{extras.check}: two figures have the same name. Fix: rename one of them")
    files |= placed
    count = sum(map(math.prod, tensor_shapes(weights_file).values()))
    facts = CardFacts(
        repo_id=repo_id,
        config=public | learned,
        train=train,
        weights=WeightsFacts(count, weights_file.stat().st_size, sha256),
        view=extras.view,
        from_folder=from_folder,
        check=report,
        evaluations=[row for text in extras.evaluations for row in read_evaluations(text)],
        figures=list(placed),
        license=extras.license or config.get("license"),
        data=extras.data or {},
    )
    (work / CARD).write_text(str(model_card(facts)), encoding="utf-8")
    return files | {CARD: work / CARD}


def _write(file: Path, value: Mapping[str, Any]) -> Path:
    file.write_text(json.dumps(value, indent=4), encoding="utf-8")
    return file


def _calibration(folder: Path, named: str, read: Callable[[str], object]) -> Path:
    beside = folder / named
    file = beside if beside.is_file() else Path(named).expanduser()
    try:
        read(json.dumps(read_object(file)))
    except ValidationError as error:
        problem = f"is no calibration ({error.errors()[0]['msg']})."
        raise UnsafeCheckpointError(
            file, problem, "set 'calibration' in config.json to null, or mend the file"
        ) from None
    return file


def _pinned_backbone(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `config.json` by which a reader finds its frozen Wan parts on the Hub, at one commit.

    Raises:
        WeightsError: A local backbone that is not the published one, which a reader could therefore not find.
        HubError: The Hub cannot be asked.
    """
    name, path, revision = (config.get(key) for key in ("backbone", "backbone_path", "backbone_revision"))
    if name not in BACKBONES:
        return {}
    if path is None and isinstance(revision, str) and COMMIT.fullmatch(revision):
        return {"backbone_path": None, "backbone_revision": revision}
    from huggingface_hub import HfApi

    repo_id = BACKBONES[name].repo_id
    info = patiently(
        lambda: HfApi().model_info(repo_id, revision=revision, files_metadata=True), "reading", repo_id
    )
    theirs = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs is not None}
    for part in ("vae", "text_encoder") if path is not None else ():
        for file in sorted(BackboneSource(name, path).part(part).glob("*.safetensors")):
            if theirs.get(f"{part}/{file.name}") != sha256_of(file):
                problem = (
                    f"is not that of {repo_id} at {info.sha}, where readers of the checkpoint would look."
                )
                fix = "publish only checkpoints that were trained from the published backbone"
                raise WeightsError(file, problem, fix)
    return {"backbone_path": None, "backbone_revision": info.sha}
