# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a stand-in Hub stores, and what can be made to go wrong with it."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKEN, READ_TOKEN = "hf_thisisthestandinsrighttoken00", "hf_thisonemayonlyread00000000000"
LARGE = (".safetensors", ".parquet", ".mp4", ".png")


@dataclass
class Commit:
    """A state of a repository: sum of the content by path."""

    sha: str
    parent: str | None
    message: str
    files: dict[str, str]


@dataclass
class Repo:
    """A repository with branches and tags."""

    id: str
    type: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> Commit | None:
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)

    def commit(self, branch: str, message: str, files: dict[str, str]) -> Commit:
        parent = self.branches.get(branch)
        text = json.dumps([self.type, self.id, parent, message, len(self.commits), sorted(files.items())])
        commit = Commit(hashlib.sha1(text.encode()).hexdigest(), parent, message, files)
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit


@dataclass
class Fault:
    """What goes wrong with requests that match.

    Attributes:
        path: Regular expression, searched in the path.
        status: Answer with this status instead; 0 cuts the connection.
        after: Bytes of a request's body (PUT) or of an answer's (GET) that still pass before the cut.
        lie: Serve the shortened answer with a matching Content-Length.
        late: Do what was asked, and then fail.
    """

    method: str
    path: str
    times: int = 1
    status: int = 0
    after: int = 0
    lie: bool = False
    late: bool = False


def git_sum(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def rewrite(file: Path, **changes: Any) -> None:
    """Changes some keys of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
