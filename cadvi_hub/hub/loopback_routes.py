"""The answers of the loopback Hub, one function per route of the real one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from cadvi_hub.hub.loopback_server import SENT, Handler, HubRequest, Routes
from cadvi_hub.hub.loopback_store import LFS_BYTES, LFS_SUFFIXES, Change, HubError, Repository, card_metadata

REPO = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
GIT = r"/(?:(?P<kind>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+)"

ROUTES: Routes = []


def route(methods: str, pattern: str) -> Callable[[Handler], Handler]:
    """Make the function answer these methods on paths that match the pattern."""

    def add(handler: Handler) -> Handler:
        ROUTES.append((methods, re.compile(pattern), handler))
        return handler

    return add


def page(kind: str, repo_id: str) -> str:
    """The path of a repository's page."""
    return repo_id if kind == "models" else f"{kind}/{repo_id}"


@route("GET", "/api/whoami-v2")
def whoami(request: HubRequest) -> dict[str, Any]:
    request.authorize()
    organizations = [{"type": "org", "name": name} for name in request.server.organizations]
    access = {"type": "access_token", "accessToken": {"displayName": "loopback", "role": "write"}}
    return {"type": "user", "name": request.server.user, "orgs": organizations, "auth": access}


@route("POST", "/api/validate-yaml")
def validate_card(request: HubRequest) -> dict[str, Any]:
    card_metadata(json.loads(request.body)["content"])
    return {"errors": [], "warnings": []}


@route("POST", "/api/repos/create")
def create(request: HubRequest) -> dict[str, Any]:
    wanted = json.loads(request.body)
    kind, repo_id = request.namespace(wanted)
    private, url = wanted.get("visibility") == "private", f"{request.server.endpoint}/{page(kind, repo_id)}"
    if (kind, repo_id) in request.server.store.repositories:
        raise HubError(409, f"You already created this {kind[:-1]} repo", url=url)
    request.server.store.create(kind, repo_id, private)
    return {"url": url, "name": repo_id}


@route("DELETE", "/api/repos/delete")
def delete(request: HubRequest) -> dict[str, Any]:
    request.server.store.repositories.pop(request.namespace(json.loads(request.body)), None)
    request.server.store.save()
    return {}


@route("GET", "/api/(?P<kind>models|datasets|spaces)")
def search(request: HubRequest, kind: str) -> list[dict[str, Any]]:
    owner, words, signed_in = request.query.get("author"), request.query.get("search", ""), request.authorize(False)
    repos = [repo for repo in request.server.store.repositories.values() if repo.kind == kind]
    seen = [repo for repo in repos if (signed_in or not repo.private) and words in repo.repo_id]
    return [info(request, repo) for repo in seen if owner in (None, repo.repo_id.split("/")[0])]


@route("GET", REPO + "(?:/revision/(?P<revision>[^/]+))?")
def info(request: HubRequest, repo: Repository, revision: str = "main") -> dict[str, Any]:
    commit = repo.commit(revision)
    card = request.server.store.card(commit)
    return {
        "_id": repo.repo_id,
        "id": repo.repo_id,
        "author": repo.repo_id.split("/")[0],
        "sha": commit.sha,
        "createdAt": repo.created,
        "lastModified": commit.date,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags") or [],
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        "cardData": card,
        "siblings": [{"rfilename": path} for path in sorted(commit.files)],
    }


@route("GET", REPO + "/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
def tree(request: HubRequest, repo: Repository, revision: str, folder: str = "") -> list[dict[str, Any]]:
    recursive, prefix = request.query.get("recursive", "").lower() in ("true", "1"), f"{folder}/" if folder else ""
    commit = repo.commit(revision)
    entries: dict[str, dict[str, Any]] = {}
    for path, file in sorted(commit.files.items()):
        if not path.startswith(prefix):
            continue
        names = path.removeprefix(prefix).split("/")
        for depth in range(1, len(names) if recursive else min(2, len(names))):
            parent = prefix + "/".join(names[:depth])
            entries[parent] = {"type": "directory", "path": parent, "oid": commit.sha, "size": 0}
        if recursive or len(names) == 1:
            entries[path] = file.listing(path)
    if folder and not entries:
        raise HubError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
    return list(entries.values())


@route("POST", REPO + "/paths-info/(?P<revision>[^/]+)")
def paths_info(request: HubRequest, repo: Repository, revision: str) -> list[dict[str, Any]]:
    commit, body = repo.commit(revision), request.body.decode()
    json_sent = "json" in (request.headers.get("Content-Type") or "")
    entries = []
    for path in json.loads(body)["paths"] if json_sent else parse_qs(body).get("paths", []):
        if path in commit.files:
            entries.append(commit.files[path].listing(path))
        elif any(name.startswith(path.rstrip("/") + "/") for name in commit.files):
            entries.append({"type": "directory", "path": path, "oid": commit.sha, "size": 0})
    return entries


@route("GET", REPO + "/refs")
def refs(request: HubRequest, repo: Repository) -> dict[str, Any]:
    def listing(names: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": sha} for name, sha in names.items()]

    return {"branches": listing(repo.branches, "heads"), "tags": listing(repo.tags, "tags"), "converts": []}


@route("GET", REPO + "/commits/(?P<revision>[^/]+)")
def commits(request: HubRequest, repo: Repository, revision: str) -> list[dict[str, Any]]:
    authors = [{"user": request.server.user}]
    history = repo.history(revision)
    return [{"id": c.sha, "title": c.title, "message": "", "authors": authors, "date": c.date} for c in history]


@route("POST DELETE", REPO + "/(?P<what>branch|tag)/(?P<name>[^/]+)")
def reference(request: HubRequest, repo: Repository, what: str, name: str) -> dict[str, Any]:
    request.authorize()
    names = repo.branches if what == "branch" else repo.tags
    wanted = json.loads(request.body or b"{}")
    if request.command == "DELETE":
        names.pop(name, None)
    else:
        start = wanted.get("startingPoint") or "main" if what == "branch" else name
        new = name if what == "branch" else wanted["tag"]
        if new in names:
            raise HubError(409, f"Reference {new} exists already")
        names[new] = repo.commit(start).sha
    request.server.store.save()
    return {}


@route("PUT", REPO + "/settings")
def settings(request: HubRequest, repo: Repository) -> dict[str, Any]:
    wanted = json.loads(request.body)
    repo.private = wanted["visibility"] == "private"
    request.server.store.save()
    return {"private": repo.private}


@route("POST", REPO + "/preupload/(?P<revision>[^/]+)")
def preupload(request: HubRequest, repo: Repository, revision: str) -> dict[str, Any]:
    request.authorize()
    head = repo.commit(revision)
    files = []
    for file in json.loads(request.body)["files"]:
        path, size = file["path"], file["size"]
        large = size > LFS_BYTES or path.endswith(LFS_SUFFIXES) or b"\0" in base64.b64decode(file.get("sample", ""))
        old = head.files.get(path)
        oid = old and (old.sha256 if old.lfs else old.oid)
        mode = "lfs" if large else "regular"
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": files}


@route("POST", GIT + r"\.git/info/lfs/objects/batch")
def lfs_batch(request: HubRequest, repo: Repository) -> dict[str, Any]:
    request.authorize()
    objects = []
    for wanted in json.loads(request.body)["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if not request.server.store.holds(wanted["oid"], wanted["size"]):
            url = f"{request.server.endpoint}/lfs/"
            answer["actions"] = {"upload": {"href": url + wanted["oid"]}, "verify": {"href": url + "verify"}}
        objects.append(answer)
    return {"transfer": "basic", "objects": objects}


@route("PUT", "/lfs/(?P<sha256>[0-9a-f]{64})")
def lfs_upload(request: HubRequest, sha256: str) -> dict[str, Any]:
    if request.server.store.put(request.body) != sha256:
        raise HubError(400, "The content does not have this SHA-256")
    return {}


@route("POST", "/lfs/verify")
def lfs_verify(request: HubRequest) -> dict[str, Any]:
    wanted = json.loads(request.body)
    if not request.server.store.holds(wanted["oid"], wanted["size"]):
        raise HubError(400, f"LFS object {wanted['oid']} is not here")
    return {}


@route("POST", REPO + "/commit/(?P<revision>[^/]+)")
def commit(request: HubRequest, repo: Repository, revision: str) -> dict[str, Any]:
    request.authorize()
    header: dict[str, Any] = {}
    changes = []
    for line in map(json.loads, request.body.splitlines()):
        key, value = line["key"], line["value"]
        if key == "header":
            header = value
        elif key == "file":
            changes.append(Change(value["path"], data=base64.b64decode(value["content"])))
        elif key == "lfsFile":
            changes.append(Change(value["path"], sha256=value["oid"], size=value["size"]))
        elif key in ("deletedFile", "deletedFolder"):
            changes.append(Change(value["path"], deleted=True))
        else:
            raise HubError(400, f"Unknown operation {key!r}")
    store = request.server.store
    new = store.commit(repo, revision, header["summary"], header.get("parentCommit"), changes)
    url = f"{request.server.endpoint}/{page(repo.kind, repo.repo_id)}/commit/{new.sha}"
    return {"success": True, "commitOid": new.sha, "commitUrl": url, "pullRequestUrl": None}


@route("GET HEAD", GIT + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(request: HubRequest, repo: Repository, revision: str, path: str) -> object:
    found = repo.commit(revision)
    file = found.files.get(path)
    if file is None:
        # Clients cache that this commit lacks the file.
        missing = {"X-Repo-Commit": found.sha, "X-Error-Code": "EntryNotFound"}
        request.send_json(404, {"error": f"{path} does not exist on {revision}"}, missing)
        return SENT
    headers = {"X-Repo-Commit": found.sha, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
    headers["Content-Type"] = "application/octet-stream"
    if file.lfs:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    data = request.server.store.read(file)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if not wanted:
        request.server.sent[path] += len(data) if request.command == "GET" else 0
        request.send_bytes(200, data, headers)
        return SENT
    start, end = int(wanted[1]), min(int(wanted[2] or file.size), file.size - 1)
    if start > end:
        raise HubError(416, f"{path} has {file.size} bytes")
    request.server.sent[path] += end + 1 - start
    request.send_bytes(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{file.size}"})
    return SENT
