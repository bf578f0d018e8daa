# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints from the Hub: one commit, checked before anything of it is used. `wallwm pull` is its command."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.files.safe_files import check_names, is_repo_id
from lerobot_wallwm.hub.files.safe_settings import (
    CONFIG,
    LEARNED,
    PROCESSORS,
    WEIGHTS,
    check_checkpoint,
    check_config,
    check_processor,
    check_settings,
    needed_files,
)
from lerobot_wallwm.hub.remote.errors import HubError, patiently

logger = logging.getLogger(__name__)

CARD = "README.md"


@dataclass
class PullConfig:
    """Flags of `wallwm pull`."""

    repo_id: str = ""  # checkpoint on the Hub; may also stand without a flag: `wallwm pull me/cups`
    revision: str | None = None  # branch, tag or commit; None takes the newest
    out: Path | None = None  # folder to make, with the checkpoint in it; None leaves it in the cache
    overwrite: bool = False  # replace an earlier `out`
    force_download: bool = False  # download again what is in the cache


def check_name(repo_id: str) -> None:
    """Raises HubError for what can be no name on the Hub."""
    if not is_repo_id(repo_id):
        raise HubError(f"{repo_id!r} is no name of a checkpoint on the Hub. Fix: write it as user/name")


def fetch_checkpoint(
    repo_id: str,
    revision: str | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    verify: bool = False,
    **download: Any,
) -> Path:
    """Downloads what loading needs of one commit of a checkpoint, and checks it; see `safe_settings`.

    Without a connection the cache is used, as LeRobot does.

    Args:
        repo_id: On the Hub.
        revision: Branch, tag or commit; None takes the newest.
        given: See `check_config`.
        verify: Also compares each file's sum with the one that the Hub lists.
        download: For `hf_hub_download`, such as ``token``, ``cache_dir``, ``force_download``.

    Returns:
        The folder in the cache, named by the commit.

    Raises:
        UnsafeCheckpointError: A file that is not opened; nothing of the checkpoint has been used.
        HubError: The Hub refused, or gave a damaged file.
    """
    check_name(repo_id)
    # Under the name that was asked for, so that the cache remembers it; then everything at the commit it stood for.
    config_file = Path(_download(repo_id, CONFIG, revision, download))
    folder = config_file.parent
    commit = folder.name
    names, online = _listing(repo_id, folder, download)
    check_names(names)
    config = check_config(config_file, given)
    wanted = needed_files(config, names)
    if WEIGHTS not in wanted:
        raise HubError(f"{repo_id} has no {WEIGHTS}. Fix: choose another repository or revision")
    for name in PROCESSORS:
        if name in wanted:
            processor = Path(_download(repo_id, name, commit, download))
            wanted += [state for state in check_processor(processor) if state in names]
    for name in (*wanted, *([CARD] if verify and CARD in names else [])):
        _download(repo_id, name, commit, download)
    if verify and online:
        _verify(repo_id, folder, download.get("token"))
    check_checkpoint(folder, names, foreign=True, given=given)
    return folder


def fetch_settings(repo_id: str, given: Mapping[str, Any] | None = None, **download: Any) -> Path:
    """A folder with the newest `config.json` and `learned.json` of a checkpoint, checked; see `fetch_checkpoint`."""
    folder = Path(_download(repo_id, CONFIG, None, download)).parent
    names, _ = _listing(repo_id, folder, download)
    if LEARNED in names:
        _download(repo_id, LEARNED, folder.name, download)
    check_settings(folder, names, given)
    return folder


def _listing(repo_id: str, folder: Path, download: dict[str, Any]) -> tuple[list[str], bool]:
    """The commit's files, and whether the Hub said so; without a connection what the cache has."""
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.hf_api import ModelInfo

    def look_up() -> ModelInfo | None:
        if download.get("local_files_only"):
            return None
        try:
            api = HfApi(token=download.get("token"))
            return api.model_info(repo_id, revision=folder.name)
        except (OfflineModeIsEnabled, httpx.TransportError) as error:
            logger.info("The Hub cannot be reached (%s); using what the cache has of %s.", error, repo_id)
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            logger.warning("The Hub answered %s; using the cache.", error.response.status_code)
        return None

    info = patiently(look_up, "reading", repo_id)
    if info is None:
        return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()], False
    return [file.rfilename for file in info.siblings or []], True


def _download(repo_id: str, name: str, revision: str | None, download: dict[str, Any]) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def call() -> str:
        try:
            return hf_hub_download(repo_id, name, revision=revision, **download)
        except LocalEntryNotFoundError as error:
            cause = error.__cause__
            if isinstance(cause, Exception):  # what the Hub answered, and not only that the cache is empty
                raise cause from None
            raise HubError(
                f"{repo_id}/{name} is not in the cache, and the Hub gave nothing. Fix: try again with a connection"
            ) from error

    return patiently(call, f"downloading {name} of", repo_id)


def _verify(repo_id: str, folder: Path, token: Any) -> None:
    """Compares each file's sum with the one that the Hub lists."""
    from huggingface_hub import HfApi

    def compare() -> Any:
        return HfApi(token=token).verify_repo_checksums(repo_id, revision=folder.name, local_dir=folder)

    for wrong in patiently(compare, "verifying", repo_id).mismatches:
        raise HubError(
            f"{wrong['path']} is damaged: its {wrong['algorithm']} sum is {wrong['actual']}, the Hub lists "
            f"{wrong['expected']}. Fix: pull again with --force_download=true"
        )


def pull(config: PullConfig) -> Path:
    """Runs `wallwm pull`: a folder for ``--policy.path``.

    Raises:
        UnsafeCheckpointError, HubError: See `fetch_checkpoint`.
        FileExistsError: `out` exists.
    """
    again = config.force_download
    folder = fetch_checkpoint(config.repo_id, config.revision, verify=True, force_download=again)
    if config.out is None:
        return folder
    from lerobot_wallwm.storage.atomic import atomic_folder

    with atomic_folder(config.out, overwrite=config.overwrite, marker=CONFIG) as out:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                shutil.copyfile(file, out / file.name)
    return config.out


def refuse_unsafe(folder: Path) -> None:
    """`check_checkpoint` for a local folder, before LeRobot builds anything from it."""
    if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
        names = [file.name for file in folder.iterdir() if file.is_file()]
        check_checkpoint(folder, names, foreign=False)
