# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm check`: from the flags to the folder with the page."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Callable, Sequence
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


def check(
    config: CheckConfig,
    arguments: Sequence[str] = (),
    segment: Callable[[Path, Sequence[int]], dict[int, list[tuple[int, int, str]]]] | None = None,
) -> Judgement:
    """Measures a checkpoint on held-out data and writes the page, the figures and ``check.json``.

    Args:
        config: The flags.
        arguments: As they were typed, for the record.
        segment: Finds the events of whole episodes; see `open_heldout`.

    Raises:
        ValueError: A flag, the checkpoint or the data cannot be used; says which and what to do.
        FileExistsError: The output folder exists.
    """
    check_config(config)
    if find_spec("matplotlib") is None:
        raise ValueError("matplotlib is missing, which draws the figures. Fix: pip install matplotlib")
    assert config.out is not None and config.policy.path is not None
    from lerobot_wallwm.check.measure.views import open_heldout, require_dataset

    shown, root = str(config.dataset.root or config.dataset.repo_id), source_root(config.dataset)
    require_dataset(root, shown)  # before anything large is imported
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.latency import machine_facts
    from lerobot_wallwm.check.measure.match import require_same_shape
    from lerobot_wallwm.check.measure.measure import measure, unmeasured
    from lerobot_wallwm.check.measure.other_policy import OtherPolicy
    from lerobot_wallwm.check.page.plots import Album
    from lerobot_wallwm.check.page.report import build_page
    from lerobot_wallwm.check.results import results
    from lerobot_wallwm.check.rules import judge
    from lerobot_wallwm.hub.card.check_report import write_check
    from lerobot_wallwm.hub.files.weights import broken_weights
    from lerobot_wallwm.storage.fingerprint import sha256_of

    folder = _checkpoint_folder(config.policy.path, config.policy.revision)
    saved = _configuration(folder, config.policy.path)
    weights = _weights(folder, saved, config.policy.path)
    episodes, from_training = _held_out_episodes(folder, config, root)
    heldout = open_heldout(root, shown, episodes, segment)
    require_same_shape(saved, heldout, shown, _rename_map(folder))
    with atomic_folder(config.out, overwrite=config.overwrite, marker=RESULTS, flag="--out") as out:
        about = {
            "policy": {"path": config.policy.path, "sha256": sha256_of(weights)},
            "dataset": {
                "repo_id": config.dataset.repo_id,
                "root": None if config.dataset.root is None else str(config.dataset.root),
            },
            "command": shlex.join(["wallwm", "check", *arguments]),
            "machine": machine_facts(config.device or str(saved.device)),
        }
        with warnings.catch_warnings():
            # Broken checkpoints are what this is for: NaN is reported once, and not by numpy at every step.
            warnings.simplefilter("ignore", RuntimeWarning)
            if broken := broken_weights(weights):
                measured = unmeasured(saved, heldout)
                measured.bad_weights = broken
            else:
                policy: Checkpoint | OtherPolicy
                if saved.type == "wallwm":
                    meta = heldout.meta if saved.chunked else None
                    policy = Checkpoint(folder, meta=meta, device=config.device)
                else:
                    policy = OtherPolicy(folder, heldout.meta, config.device)
                measured = measure(policy, heldout, config, from_training)
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
        try:
            folder = fetch_checkpoint(path, revision)
        except ValueError as error:
            problem = f"is not there, and the Hub does not give it ({str(error).split(' Fix:')[0]})"
            raise DataError(path, "folder", problem, other) from error
    for name in ("config.json", "policy_preprocessor.json", "policy_postprocessor.json"):
        if not (folder / name).is_file():
            inside = (folder / "pretrained_model" / name).is_file()
            raise DataError(path, name, "is missing", f"pass {path}/pretrained_model" if inside else other)
    return folder


def _configuration(folder: Path, shown: str) -> Any:
    """The checkpoint's configuration, of whatever type LeRobot and its plugins know."""
    from draccus.utils import DraccusException
    from lerobot.configs import PreTrainedConfig
    from lerobot.utils.import_utils import register_third_party_plugins

    import lerobot_policy_wallwm  # noqa: F401  registers the type

    register_third_party_plugins()
    import lerobot.policies  # noqa: F401  registers LeRobot's own types

    file = f"{shown}/config.json"
    try:
        saved = PreTrainedConfig.from_pretrained(folder)
    except (DraccusException, ValueError, KeyError) as error:
        fix = "use the versions of LeRobot and of the plugin that wrote it, or save the checkpoint again"
        raise DataError(file, "file", f"cannot be read ({error})", fix) from error
    if not saved.output_features:
        fix = f"train from them first: lerobot-train --policy.path={shown} ..."
        raise DataError(file, "output_features", "is empty: these are base weights, which do not act", fix)
    return saved


def _weights(folder: Path, saved: Any, shown: str) -> Path:
    """The file with the weights: all of them, or an adapter's."""
    name = "adapter_model.safetensors" if saved.use_peft else WEIGHTS
    if not (folder / name).is_file():
        raise DataError(shown, name, "is missing", "pass the pretrained_model folder of a lerobot-train run")
    return folder / name


def _rename_map(folder: Path) -> dict[str, str]:
    """What `lerobot-train --rename_map` was told, which the checkpoint's pipeline keeps."""
    steps = json.loads((folder / "policy_preprocessor.json").read_text(encoding="utf-8")).get("steps", [])
    maps = [step.get("config", {}).get("rename_map") or {} for step in steps]
    return {old: new for names in maps for old, new in names.items()}


def _held_out_episodes(folder: Path, config: CheckConfig, root: Path) -> tuple[list[int] | None, bool]:
    """The episodes to check on, None for all, and whether training saw them.

    Training wrote down its data beside the checkpoint. Checked on the same data without --dataset.episodes, a policy that
    was trained on some of the episodes gets the others.
    """
    wanted = config.dataset.episodes
    try:
        data = json.loads((folder / "train_config.json").read_text(encoding="utf-8"))["dataset"]
    except (OSError, ValueError, KeyError):
        return wanted, False
    where = data.get("root")
    same = Path(where).resolve() == root.resolve() if where else data.get("repo_id") == config.dataset.repo_id
    if not same:
        return wanted, False
    learned = data.get("episodes")
    if learned is None:
        return wanted, True
    if wanted is None:
        total = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))["total_episodes"]
        wanted = sorted(set(range(total)) - set(learned))
        print(f"episodes that it was not trained on: {len(wanted)} of {total}")
        return (wanted, False) if wanted else (None, True)
    return wanted, bool(set(wanted) & set(learned))


def summary(verdict: Judgement) -> str:
    """A check's result for the terminal."""
    return "\n  - ".join([f"Switch the arm on? {verdict.answer.upper()}", *verdict.reasons])
