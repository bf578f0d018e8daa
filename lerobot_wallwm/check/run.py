# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm check`: from the flags to the folder with the page."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lerobot_wallwm.check.config import CheckConfig, check_config
from lerobot_wallwm.check.rules import judge
from lerobot_wallwm.check.verdict import Verdict
from lerobot_wallwm.storage.atomic import atomic_folder
from lerobot_wallwm.storage.places import source_root

PAGE, RESULTS = "check.html", "check.json"


def check(config: CheckConfig, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measures a checkpoint on held-out data and writes the page, the figures and ``check.json``.

    Args:
        config: The flags.
        arguments: As they were typed, for the record.

    Returns:
        The content of ``check.json``.

    Raises:
        ValueError: A flag, the checkpoint or the data cannot be used; says which and what to do.
        FileExistsError: The output folder exists.
    """
    check_config(config)
    if find_spec("matplotlib") is None:
        raise ValueError("matplotlib is missing, which draws the figures. Fix: pip install matplotlib")
    assert config.out is not None and config.policy.path is not None
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.heldout_data import open_heldout
    from lerobot_wallwm.check.measure.latency import machine_facts
    from lerobot_wallwm.check.measure.match import require_same_shape
    from lerobot_wallwm.check.measure.measure import measure, unmeasured
    from lerobot_wallwm.check.page.plots import Album
    from lerobot_wallwm.check.page.report import build_page
    from lerobot_wallwm.check.policy_files import WEIGHTS, policy_folder
    from lerobot_wallwm.check.results import results, write_results
    from lerobot_wallwm.hub.files.weights import broken_weights
    from lerobot_wallwm.storage.fingerprint import sha256_of

    folder = policy_folder(config.policy.path, config.policy.revision)
    root = _dataset_folder(config)
    shown = str(config.dataset.root or config.dataset.repo_id)
    heldout = open_heldout(root, shown)
    with atomic_folder(config.out, overwrite=config.overwrite, marker=RESULTS, flag="--out") as out:
        saved = _configuration(folder)
        require_same_shape(saved, heldout, shown)
        meta = heldout.meta if saved.chunked else None
        broken = broken_weights(folder / WEIGHTS)
        with warnings.catch_warnings():
            # Broken checkpoints are what this is for: NaN is reported once, and not by numpy at every step.
            warnings.simplefilter("ignore", RuntimeWarning)
            if broken:
                run = unmeasured(saved, heldout)
                run.measured.bad_weights = broken
            else:
                run = measure(Checkpoint(folder, meta=meta, device=config.device), heldout, config)
            verdict = judge(run.measured)
            album = Album(out)
            policy = {"path": config.policy.path, "sha256": sha256_of(folder / WEIGHTS)}
            dataset = {
                "repo_id": config.dataset.repo_id,
                "root": None if config.dataset.root is None else str(config.dataset.root),
            }
            machine = machine_facts(config.device or str(saved.device))
            command = shlex.join(["wallwm", "check", *arguments])
            html = build_page(run, verdict, heldout, album, policy, dataset, command, machine)
        (out / PAGE).write_text(html, encoding="utf-8")
        content = results(run, verdict, heldout, policy, dataset, command, machine, album.names)
        write_results(out / RESULTS, content)
    return content


def _dataset_folder(config: CheckConfig) -> Path:
    """The data's folder; the Hub is asked where only a name is given.

    Raises:
        ValueError: Neither is given, or the Hub does not have it or cannot be reached.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return source_root(config.dataset)
    except (OSError, HfHubHTTPError) as error:
        raise ValueError(
            f"{config.dataset.repo_id}: not to be had from the Hub ({type(error).__name__}). Fix: check --dataset.repo_id and "
            "the network, or pass --dataset.root=<folder>"
        ) from error


def _configuration(folder: Path) -> Any:
    """The checkpoint's configuration.

    Raises:
        ValueError: It cannot be read.
    """
    from draccus.utils import DraccusException
    from lerobot.configs import PreTrainedConfig

    import lerobot_policy_wallwm  # noqa: F401  registers the type

    try:
        return PreTrainedConfig.from_pretrained(folder)
    except DraccusException as error:
        raise ValueError(
            f"{folder / 'config.json'}: cannot be read ({error}). Fix: use the version of this package that wrote it"
        ) from error


def summary(content: dict[str, Any]) -> str:
    """A check's result for the terminal."""
    verdict = content["verdict"]
    answer = Verdict(verdict["level"], verdict["reasons"], []).answer
    lines = [f"Switch the arm on? {answer.upper()}"]
    return "\n".join([*lines, *(f"  - {reason}" for reason in verdict["reasons"])])
