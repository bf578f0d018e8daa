# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Files into a repository of the Hub, in one commit or not at all.

Large files are uploaded first and are not visible until the commit names them. A run that was cut off is repeated: the
Hub knows by their sums which of them it has, and huggingface_hub does not send those again.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lerobot_wallwm.hub.remote.errors import LOGIN, HubError, patiently


@dataclass(frozen=True)
class Pushed:
    """A commit on the Hub: its address, its hash, and the repository's address."""

    url: str
    commit: str
    repo_url: str


def push_files(
    files: Mapping[str, Path],
    repo_id: str,
    *,
    repo_type: str = "model",
    private: bool | None = None,
    branch: str | None = None,
    message: str,
    managed: Collection[str] = (),
) -> Pushed:
    """Publishes files in one commit.

    Args:
        files: Local file by its path in the repository.
        repo_id: Made if it is not there.
        repo_type: ``model`` or ``dataset``.
        private: Of a repository that is made now; None leaves it to the Hub's default.
        branch: Made if it is not there; None is the main one.
        message: Of the commit.
        managed: Patterns of files that belong to what is published: others that match are deleted in the same commit,
            so that nothing of an earlier publication is left beside this one.

    Raises:
        HubError: The Hub refused, or did not answer. Nothing of the new files is visible then.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.hf_api import CommitInfo

    if get_token() is None:
        raise HubError(f"publishing {repo_id}: there is no token. Fix: {LOGIN}")
    api = HfApi()
    there: dict[str, Any] = {"repo_type": repo_type, "exist_ok": True}
    url = patiently(lambda: api.create_repo(repo_id, private=private, **there), "creating", repo_id)
    if branch is not None:
        patiently(lambda: api.create_branch(repo_id, branch=branch, **there), "branching", repo_id)

    def commit() -> CommitInfo:
        # On top of the head that is looked at here, or not at all: with somebody else's commit in between, files that
        # were left out because they had not changed would be theirs.
        head = api.repo_info(repo_id, repo_type=repo_type, revision=branch).sha
        others = set(api.list_repo_files(repo_id, repo_type=repo_type, revision=head)) - files.keys()
        stale = sorted(n for n in others if any(fnmatch.fnmatch(n, pattern) for pattern in managed))
        # New operations each time: huggingface_hub marks used ones.
        operations = [CommitOperationAdd(name, str(path.resolve())) for name, path in sorted(files.items())]
        return api.create_commit(
            repo_id,
            [*operations, *map(CommitOperationDelete, stale)],
            commit_message=message,
            repo_type=repo_type,
            revision=branch,
            parent_commit=head,
        )

    info = patiently(commit, "uploading to", repo_id)
    return Pushed(str(info.commit_url), info.oid, str(url))
