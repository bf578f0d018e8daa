# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A stand-in for the Hub on 127.0.0.1: the endpoints that huggingface_hub's client uses, and faults on demand.

Repositories are lists of commits, blobs are stored by their sums. A large file is sent once (LFS, `basic` transfer) and
becomes visible by the commit that names it, as on the real Hub.
"""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

import yaml
from hub_http import FaultyHandler
from hub_repos import LARGE, Commit, Fault, Repo, git_sum


class StandInHub:
    """The server and what it knows."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.large: set[str] = set()
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.puts: Counter[str] = Counter()
        self.received = 0
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.cdn_url = f"http://localhost:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def repo(self, name: str, kind: str = "model") -> Repo:
        return self.repos[kind, name]

    def files(self, name: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """What a reader sees."""
        commit = self.repo(name, kind).resolve(revision)
        assert commit is not None
        return {path: self.blobs[key] for path, key in commit.files.items()}

    def add_commit(self, name: str, files: dict[str, bytes], kind: str = "model") -> str:
        """Puts files there behind the client's back, as an attacker's repository would have them."""
        repo = self.repos.setdefault((kind, name), Repo(name, kind, False))
        return repo.commit(
            "main", "by hand", {path: self.store(path, data) for path, data in files.items()}
        ).sha

    def store(self, path: str, data: bytes) -> str:
        if path.endswith(LARGE) and data:
            key = hashlib.sha256(data).hexdigest()
            self.large.add(key)
        else:
            key = git_sum(data)
        self.blobs[key] = data
        return key

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None


class _Handler(FaultyHandler):
    hub: StandInHub

    def route(self, path: str) -> None:
        for method, pattern, write, action in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                if self.allowed(write):
                    with self.hub.lock:
                        action(self, **found.groupdict())
                return
        self.error(404)

    def find(self, kind: str | None, name: str) -> Repo | None:
        repo = self.hub.repos.get(((kind or "models").rstrip("s/"), name))
        if repo is None:
            self.error(404 if self.headers.get("Authorization") else 401, "RepoNotFound")
        return repo

    def at(self, kind: str | None, name: str, revision: str | None) -> tuple[Repo, Commit] | None:
        repo = self.find(kind, name)
        if repo is None:
            return None
        commit = repo.resolve(revision or "main")
        if commit is None:
            self.error(404, "RevisionNotFound")
            return None
        return repo, commit

    def whoami(self) -> None:
        self.answer(200, {"name": "me", "type": "user", "auth": {"accessToken": {"role": "write"}}})

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        kind = asked.get("type", "model")
        prefix = "" if kind == "model" else f"{kind}s/"
        url = {"url": f"{self.hub.url}/{prefix}{name}", "name": name, "id": name}
        if (kind, name) in self.hub.repos:
            self.answer(409, {**url, "error": "You already created this repo"})
            return
        repo = Repo(name, kind, asked.get("visibility") == "private")
        self.hub.repos[kind, name] = repo
        repo.commit("main", "initial commit", {".gitattributes": self.hub.store(".gitattributes", b"")})
        self.answer(200, url)

    def validate_yaml(self) -> None:
        asked = json.loads(self.body)
        errors = []
        try:
            value = yaml.safe_load(asked["content"].split("---")[1])
            if not isinstance(value, dict):
                errors.append({"message": "front matter is no object"})
        except (IndexError, yaml.YAMLError) as error:
            errors.append({"message": str(error)})
        self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        if (found := self.at(kind, name, revision)) is None:
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": found[1].files.get(file["path"]),
            }
            for file in json.loads(self.body)["files"]
        ]
        self.answer(200, {"files": files, "commitOid": found[1].sha})

    def lfs_batch(self, kind: str | None, name: str) -> None:
        if self.find(kind, name) is None:
            return
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = dict(wanted)
            if wanted["oid"] not in self.hub.blobs:
                href = f"{self.hub.url}/lfs/{wanted['oid']}"
                verify = f"{self.hub.url}/lfs/verify"
                entry["actions"] = {"upload": {"href": href}, "verify": {"href": verify}}
            objects.append(entry)
        self.answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self.error(400)
            return
        self.hub.puts[oid] += 1
        self.hub.blobs[oid] = self.body
        self.hub.large.add(oid)
        self.answer(200)

    def lfs_verify(self) -> None:
        asked = json.loads(self.body)
        data = self.hub.blobs.get(asked["oid"])
        self.answer(200 if data is not None and len(data) == asked["size"] else 404, {})

    def commit(self, kind: str, name: str, branch: str) -> None:
        if (found := self.at(kind, name, branch)) is None:
            return
        repo, head = found
        files, message = dict(head.files), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, head.sha):
                    self.error(412)
                    return
            elif item["key"] == "file":
                data = base64.b64decode(value["content"])
                files[value["path"]] = self.hub.store(value["path"], data)
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    self.error(400)
                    return
                files[value["path"]] = value["oid"]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        commit = repo.commit(branch, message, files)
        url = f"{self.hub.url}/{'' if repo.type == 'model' else repo.type + 's/'}{name}/commit/{commit.sha}"
        self.answer(200, {"success": True, "commitUrl": url, "commitOid": commit.sha})

    def info(self, kind: str, name: str, revision: str | None = None) -> None:
        if (found := self.at(kind, name, revision)) is None:
            return
        repo, commit = found
        siblings = []
        for path, key in commit.files.items():
            data = self.hub.blobs[key]
            entry: dict[str, Any] = {"rfilename": path}
            if "blobs" in self.query:
                entry |= {"size": len(data), "blobId": git_sum(data)}
                if key in self.hub.large:
                    entry["lfs"] = {"sha256": key, "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        value = {"id": name, "_id": "0", "sha": commit.sha, "private": repo.private, "siblings": siblings}
        self.answer(200, {**value, "tags": [], "downloads": 0, "likes": 0})

    def tree(self, kind: str, name: str, revision: str, folder: str | None = None) -> None:
        if (found := self.at(kind, name, revision)) is None:
            return
        entries, start = [], f"{folder}/" if folder else ""
        for path, key in found[1].files.items():
            if path.startswith(start):
                data = self.hub.blobs[key]
                entry: dict[str, Any] = {
                    "type": "file",
                    "path": path,
                    "size": len(data),
                    "oid": git_sum(data),
                }
                if key in self.hub.large:
                    entry["lfs"] = {"oid": key, "size": len(data), "pointerSize": 130}
                entries.append(entry)
        self.answer(200, entries)

    def refs(self, kind: str, name: str) -> None:
        if (repo := self.find(kind, name)) is None:
            return
        lists = {
            field: [
                {"name": n, "ref": f"refs/{ref}/{n}", "targetCommit": sha}
                for n, sha in getattr(repo, field).items()
            ]
            for field, ref in (("branches", "heads"), ("tags", "tags"))
        }
        self.answer(200, {**lists, "converts": []})

    def tag(self, kind: str, name: str, revision: str) -> None:
        if self.command == "DELETE":
            repo = self.find(kind, name)
            if repo is not None and repo.tags.pop(revision, None) is None:
                self.error(404, "RevisionNotFound")
            elif repo is not None:
                self.answer(200, {})
            return
        if (found := self.at(kind, name, revision)) is not None:
            found[0].tags[json.loads(self.body)["tag"]] = found[1].sha
            self.answer(200, {})

    def branch(self, kind: str, name: str, branch: str) -> None:
        if (repo := self.find(kind, name)) is None:
            return
        if branch in repo.branches:
            self.error(409)
            return
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        commit = repo.resolve(start)
        assert commit is not None
        repo.branches[branch] = commit.sha
        self.answer(200, {})

    def resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        if (found := self.at(kind, name, revision)) is None:
            return
        key = found[1].files.get(path)
        headers = {"X-Repo-Commit": found[1].sha}
        if key is None:
            self.answer(404, {"error": "EntryNotFound"}, {**headers, "X-Error-Code": "EntryNotFound"})
            return
        data = self.hub.blobs[key]
        if key not in self.hub.large:
            self.serve(data, {**headers, "ETag": f'"{git_sum(data)}"'})
            return
        # A large file is on another host, which the client is sent to without its token.
        linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{key}"', "ETag": f'"{key[:8]}"'}
        if self.fault is not None and self.fault.lie:
            linked["X-Linked-Size"] = str(self.fault.after)
        self.answer(302, None, {**headers, **linked, "Location": f"{self.hub.cdn_url}/cdn/{key}"})

    def cdn(self, key: str) -> None:
        self.serve(self.hub.blobs[key], {"ETag": f'"{key}"'})


_KIND, _NAME = r"(?P<kind>models|datasets)", r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/{_KIND}/{_NAME}"
_GIT = r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)"
_ROUTES: list[tuple[tuple[str, ...], str, bool, Callable[..., None]]] = [
    (("GET",), "/api/whoami-v2", False, _Handler.whoami),
    (("POST",), "/api/repos/create", True, _Handler.create),
    (("POST",), "/api/validate-yaml", False, _Handler.validate_yaml),
    (("POST",), rf"{_API}/preupload/(?P<revision>.+)", True, _Handler.preupload),
    (("POST",), rf"{_GIT}\.git/info/lfs/objects/batch", True, _Handler.lfs_batch),
    (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", False, _Handler.lfs_put),
    (("POST",), "/lfs/verify", True, _Handler.lfs_verify),
    (("POST",), rf"{_API}/commit/(?P<branch>.+)", True, _Handler.commit),
    (("GET",), rf"{_API}/revision/(?P<revision>.+)", False, _Handler.info),
    (("GET",), rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", False, _Handler.tree),
    (("GET",), rf"{_API}/refs", False, _Handler.refs),
    (("POST", "DELETE"), rf"{_API}/tag/(?P<revision>.+)", True, _Handler.tag),
    (("POST",), rf"{_API}/branch/(?P<branch>.+)", True, _Handler.branch),
    (("GET",), _API, False, _Handler.info),
    (("GET", "HEAD"), rf"{_GIT}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", False, _Handler.resolve),
    (("GET", "HEAD"), "/cdn/(?P<key>[0-9a-f]{64})", False, _Handler.cdn),
]
