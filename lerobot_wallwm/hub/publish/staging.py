# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint made ready to publish: checked, freed of this machine's paths, with its card and figures."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.card.check_report import read_check
from lerobot_wallwm.hub.card.evaluations import Evaluation, read_evaluations
from lerobot_wallwm.hub.card.model_card import CardFacts, WeightsFacts, model_card
from lerobot_wallwm.hub.card.view_facts import ViewFacts
from lerobot_wallwm.hub.files.backbones import BACKBONES, BackboneSource
from lerobot_wallwm.hub.files.delta import Base, Delta, base_entries, make_delta
from lerobot_wallwm.hub.files.fingerprint import fingerprint
from lerobot_wallwm.hub.files.portable import portable
from lerobot_wallwm.hub.files.safe_files import (
    UnsafeCheckpointError,
    is_repo_id,
    read_object,
    safetensors_header,
)
from lerobot_wallwm.hub.files.safe_settings import (
    CONFIG,
    DELTA,
    PROCESSORS,
    TRAIN_CONFIG,
    WEIGHTS,
    check_checkpoint,
    check_config,
    check_processor,
)
from lerobot_wallwm.hub.files.weights import WeightsError, weight_files
from lerobot_wallwm.hub.remote.backbone_pin import pinned_backbone, sha256_of
from lerobot_wallwm.hub.remote.pull import CARD, fetch_checkpoint, fetch_folder

CALIBRATION = "calibration.json"
# What a publication owns in its repository; see `push_files`.
MANAGED = (
    DELTA,
    CALIBRATION,
    "policy_preprocessor*",
    "policy_postprocessor*",
    "figures/*.png",
    "*.safetensors",
)


@dataclass(frozen=True)
class Extras:
    """What goes with a checkpoint.

    Attributes:
        check: Folder of `wallwm check`, or None.
        evaluations: See `read_evaluations`.
        view: Facts of the training data, or None.
        license: As the publisher states it; None takes `config.json`'s.
        delta: ``backbone``, or ``user/name[@revision]`` of a checkpoint; None publishes whole.
        data: See `CardFacts`.
    """

    check: Path | None = None
    evaluations: Sequence[str] = ()
    view: ViewFacts | None = None
    license: str | None = None
    delta: str | None = None
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Staged:
    """Files by their path in the repository, and what the card says of the weights."""

    files: dict[str, Path]
    weights: WeightsFacts


def stage_checkpoint(folder: Path, repo_id: str, extras: Extras, work: Path) -> Staged:
    """Checks a checkpoint and writes what differs from it in its published form.

    Args:
        folder: `pretrained_model` of a LeRobot checkpoint; it is not changed.
        repo_id: Where it will be published.
        extras: See `Extras`.
        work: Empty folder for what is written.

    Raises:
        ValueError: Something is absent, unsafe, or not this checkpoint's; the message names file and fix.
    """
    names = [file.name for file in folder.iterdir() if file.is_file()]
    config = check_checkpoint(folder, names, foreign=False)
    for name in PROCESSORS:
        if name not in names:
            fix = "give --policy.path the folder pretrained_model of a checkpoint that lerobot-train wrote"
            raise UnsafeCheckpointError(folder / name, "there is no such file.", fix)
    _refuse_broken_numbers(folder / WEIGHTS)
    sha256 = sha256_of(folder / WEIGHTS)
    files = {WEIGHTS: folder / WEIGHTS}
    for name in PROCESSORS:
        files[name] = folder / name
        files |= {state: folder / state for state in check_processor(folder / name)}

    parts = ("vae", "text_encoder", *(["transformer"] if extras.delta == "backbone" else []))
    calibration = config.get("calibration")
    public, _ = portable({**config, "repo_id": repo_id}, CONFIG)
    public |= pinned_backbone(config, parts)
    if calibration is not None:
        files[CALIBRATION] = _calibration(folder, calibration)
        public["calibration"] = CALIBRATION
    files[CONFIG] = _write(work / CONFIG, public)
    check_config(files[CONFIG])
    train = None
    if TRAIN_CONFIG in names:
        train, _ = portable(read_object(folder / TRAIN_CONFIG), TRAIN_CONFIG)
        if isinstance(train.get("policy"), dict):
            train["policy"] |= {
                key: public[key] for key in ("backbone_path", "backbone_revision") if key in public
            }
        files[TRAIN_CONFIG] = _write(work / TRAIN_CONFIG, train)

    report, figures = (None, []) if extras.check is None else read_check(extras.check, sha256)
    placed = {f"figures/{_plain(figure.stem)}.png": figure for figure in figures}
    if len(placed) < len(figures):
        raise ValueError(f"{extras.check}: two figures have the same name. Fix: rename one of them")
    files |= placed
    evaluations: list[Evaluation] = [row for text in extras.evaluations for row in read_evaluations(text)]
    delta = None
    if extras.delta is not None:
        delta = _delta(
            folder / WEIGHTS, extras.delta, {**config, **public}, config.get("backbone_path"), work
        )
        files |= {WEIGHTS: work / WEIGHTS, DELTA: work / DELTA}
    weights = _weights_facts(folder / WEIGHTS, sha256, delta, work)
    card = model_card(
        CardFacts(
            repo_id=repo_id,
            config=public,
            train=train,
            weights=weights,
            view=extras.view,
            check=report,
            evaluations=evaluations,
            figures=list(placed),
            license=extras.license or config.get("license"),
            data=extras.data or {},
        )
    )
    (work / CARD).write_text(card, encoding="utf-8")
    files[CARD] = work / CARD
    return Staged(files, weights)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def _write(file: Path, value: Mapping[str, Any]) -> Path:
    file.write_text(json.dumps(value, indent=4), encoding="utf-8")
    return file


def _calibration(folder: Path, named: str) -> Path:
    """The calibration file, which must be one: whatever else the configuration names is not published.

    Raises:
        ValueError: It is none.
    """
    from pydantic import ValidationError

    from lerobot_wallwm.policies.geometry.calibration import Calibration

    beside = folder / named
    file = beside if beside.is_file() else Path(named).expanduser()
    try:
        Calibration.model_validate_json(json.dumps(read_object(file)))
    except ValidationError as error:
        problem = f"is no calibration ({error.errors()[0]['msg']})."
        raise UnsafeCheckpointError(
            file, problem, "set 'calibration' in config.json to null, or mend the file"
        ) from None
    return file


def _refuse_broken_numbers(file: Path) -> None:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118  not a mapping
            tensor = opened.get_tensor(name)
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                fix = "publish a checkpoint from before the training failed"
                raise WeightsError(file, f"'{name}' holds numbers that are not finite.", fix, [name])


def _weights_facts(file: Path, sha256: str, delta: Delta | None, work: Path) -> WeightsFacts:
    _, header = safetensors_header(file)
    count = sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    size = file.stat().st_size
    if delta is None:
        return WeightsFacts(count, size, sha256)
    published = sum((work / name).stat().st_size for name in (WEIGHTS, DELTA))
    return WeightsFacts(count, size, sha256, (delta.base.repo_id, delta.base.revision), published)


def _delta(
    file: Path, wanted: str, config: Mapping[str, Any], backbone_path: str | None, work: Path
) -> Delta:
    if wanted == "backbone":
        name = config.get("backbone")
        if name not in BACKBONES:
            raise ValueError(
                f"--delta=backbone: the checkpoint's backbone is {name!r}. Fix: name a checkpoint instead"
            )
        revision = config["backbone_revision"]
        folder = BackboneSource(name, backbone_path, revision).part("transformer")
        print_ = fingerprint(weight_files(folder, "download the backbone again"))
        base = Base("backbone", BACKBONES[name].repo_id, revision, print_, name)
    else:
        repo_id, _, at = wanted.partition("@")
        if not is_repo_id(repo_id):
            raise ValueError(
                f"--delta={wanted}: a base must be on the Hub, where others find it. Fix: publish the base first, then "
                "give its name, user/name or user/name@revision, or `backbone`"
            )
        fetched = fetch_checkpoint(repo_id, at or None)
        base = Base("checkpoint", repo_id, fetched.revision, fingerprint([fetched.folder / WEIGHTS]))
    return make_delta(file, base, base_entries(base, fetch_folder, backbone_path), work)


def place(staged: Staged, out: Path) -> None:
    """Copies staged files into a folder laid out like the repository."""
    for name, path in staged.files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / name)
