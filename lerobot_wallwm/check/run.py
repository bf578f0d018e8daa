# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm check`: from the flags to the folder with the page."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lerobot_wallwm.check.config import CheckConfig, check_config
from lerobot_wallwm.storage.atomic import atomic_folder
from lerobot_wallwm.storage.errors import DataError
from lerobot_wallwm.storage.places import source_root

if TYPE_CHECKING:
    from lerobot_wallwm.check.rules import Judgement

PAGE, RESULTS, WEIGHTS = "check.html", "check.json", "model.safetensors"


def check(config: CheckConfig, arguments: Sequence[str] = ()) -> Judgement:
    """Measures a checkpoint on held-out data and writes the page, the figures and ``check.json``.

    Args:
        config: The flags.
        arguments: As they were typed, for the record.

    Raises:
        ValueError: A flag, the checkpoint or the data cannot be used; says which and what to do.
        FileExistsError: The output folder exists.
    """
    check_config(config)
    if find_spec("matplotlib") is None:
        raise ValueError("matplotlib is missing, which draws the figures. Fix: pip install matplotlib")
    assert config.out is not None and config.policy.path is not None
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.latency import machine_facts
    from lerobot_wallwm.check.measure.match import require_same_shape
    from lerobot_wallwm.check.measure.measure import measure, unmeasured
    from lerobot_wallwm.check.measure.views import open_heldout
    from lerobot_wallwm.check.page.plots import Album
    from lerobot_wallwm.check.page.report import build_page
    from lerobot_wallwm.check.results import results
    from lerobot_wallwm.check.rules import judge
    from lerobot_wallwm.hub.card.check_report import write_check
    from lerobot_wallwm.hub.files.weights import broken_weights
    from lerobot_wallwm.storage.fingerprint import sha256_of

    folder = _checkpoint_folder(config.policy.path, config.policy.revision)
    shown = str(config.dataset.root or config.dataset.repo_id)
    heldout = open_heldout(_dataset_folder(config), shown)
    saved = _configuration(folder, config.policy.path)
    require_same_shape(saved, heldout, shown)
    with atomic_folder(config.out, overwrite=config.overwrite, marker=RESULTS, flag="--out") as out:
        meta = heldout.meta if saved.chunked else None
        root = config.dataset.root
        about = {
            "policy": {"path": config.policy.path, "sha256": sha256_of(folder / WEIGHTS)},
            "dataset": {"repo_id": config.dataset.repo_id, "root": None if root is None else str(root)},
            "command": shlex.join(["wallwm", "check", *arguments]),
            "machine": machine_facts(config.device or str(saved.device)),
        }
        with warnings.catch_warnings():
            # Broken checkpoints are what this is for: NaN is reported once, and not by numpy at every step.
            warnings.simplefilter("ignore", RuntimeWarning)
            if broken := broken_weights(folder / WEIGHTS):
                measured = unmeasured(saved, heldout)
                measured.bad_weights = broken
            else:
                measured = measure(Checkpoint(folder, meta=meta, device=config.device), heldout, config)
            verdict, album = judge(measured), Album(out)
            (out / PAGE).write_text(build_page(measured, verdict, heldout, album, about), encoding="utf-8")
        write_check(out / RESULTS, results(measured, verdict, heldout, about, album.names))
    return verdict


def _checkpoint_folder(path: str, revision: str | None) -> Path:
    """The folder of a checkpoint on this machine; a name on the Hub is fetched first, and checked."""
    folder, other = Path(path).expanduser(), "pass the pretrained_model folder of a lerobot-train run"
    if not folder.is_dir():
        from lerobot_wallwm.hub.files.safe_files import is_repo_id
        from lerobot_wallwm.hub.remote.pull import fetch_checkpoint

        if not is_repo_id(path):
            raise DataError(path, "folder", "is not there", f"{other}, or a name on the Hub")
        folder = fetch_checkpoint(path, revision)
    for name in ("config.json", WEIGHTS, "policy_preprocessor.json", "policy_postprocessor.json"):
        if not (folder / name).is_file():
            inside = (folder / "pretrained_model" / name).is_file()
            raise DataError(path, name, "is missing", f"pass {path}/pretrained_model" if inside else other)
    return folder


def _dataset_folder(config: CheckConfig) -> Path:
    """The data's folder; the Hub is asked where only a name is given."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return source_root(config.dataset)
    except (OSError, HfHubHTTPError) as error:
        raise ValueError(
            f"{config.dataset.repo_id}: not to be had from the Hub ({type(error).__name__}). Fix: check --dataset.repo_id and "
            "the network, or pass --dataset.root=<folder>"
        ) from error


def _configuration(folder: Path, shown: str) -> Any:
    """The checkpoint's configuration; another policy's is refused."""
    from draccus.utils import DraccusException
    from lerobot.configs import PreTrainedConfig

    import lerobot_policy_wallwm  # noqa: F401  registers the type

    file = f"{shown}/config.json"
    try:
        config = PreTrainedConfig.from_pretrained(folder)
    except (DraccusException, ValueError, KeyError) as error:
        fix = "use the version of this package that wrote it, or save the checkpoint again"
        raise DataError(file, "file", f"cannot be read ({error})", fix) from error
    if config.type != "wallwm":
        fix = "pass a checkpoint of --policy.type=wallwm"
        raise DataError(file, "type", f"is {config.type!r}, and only wallwm is checked here", fix)
    return config


def summary(verdict: Judgement) -> str:
    """A check's result for the terminal."""
    return "\n  - ".join([f"Switch the arm on? {verdict.answer.upper()}", *verdict.reasons])
