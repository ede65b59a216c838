"""The workspace's objects: directories, notebooks with their revisions, and experiments as nodes among them."""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

from werkzeug.wrappers import Response

from tests.databricks.standin import notebooks
from tests.databricks.standin.platform import ApiError, Call, Platform, Route, absent, exists, invalid, now

WORKSPACE = "/api/2.0/workspace"
DIRECTORY, NOTEBOOK, EXPERIMENT = "DIRECTORY", "NOTEBOOK", "MLFLOW_EXPERIMENT"


@dataclass
class Node:
    """A directory, notebook or experiment; an experiment's id is MLflow's."""

    path: str
    kind: str
    object_id: int
    created: int
    language: str = ""
    revisions: List[Tuple[int, str]] = field(default_factory=list)  # milliseconds, source


class Workspace:
    """The tree of nodes."""

    def __init__(self, platform: Platform) -> None:
        """With the directories that a workspace has from the start."""
        self._platform = platform
        self.nodes: Dict[str, Node] = {}
        homes = [f"/Users/{p.name}" for p in platform.people.values()]
        for path in ("/", "/Users", "/Shared", "/Repos", *homes):
            self.add(path, DIRECTORY)

    def add(self, path: str, kind: str, object_id: int = 0) -> Node:
        """Make a node."""
        node = Node(path, kind, object_id or self._platform.new_id(), now())
        self.nodes[path] = node
        return node

    def of_id(self, kind: str, object_id: int) -> Optional[Node]:
        """The node with an id."""
        return next((n for n in list(self.nodes.values()) if n.object_id == object_id and n.kind == kind), None)

    def parents(self, path: str) -> Iterator[Node]:
        """The directories above a path, nearest first."""
        while path != "/":
            path = posixpath.dirname(path)
            if path in self.nodes:
                yield self.nodes[path]

    def need(self, path: str) -> Node:
        """The node at a path.

        :raises ApiError: There is none.
        """
        node = self.nodes.get(path)
        if node is None:
            raise absent(f"Path ({path}) doesn't exist.")
        return node

    def need_parent(self, path: str) -> None:
        """Check that a path's directory is there.

        :raises ApiError: It isn't.
        """
        parent = self.nodes.get(posixpath.dirname(path))
        if parent is None or parent.kind != DIRECTORY:
            raise absent(f"The parent folder ({posixpath.dirname(path)}) does not exist.")

    def make_directories(self, path: str) -> None:
        """Make a directory and those above it.

        :raises ApiError: One of them is something else, or would be a home of nobody.
        """
        whole = ""
        for part in path.strip("/").split("/"):
            whole += f"/{part}"
            node = self.nodes.get(whole)
            if node is None:
                if posixpath.dirname(whole) == "/Users":
                    raise ApiError(400, "DIRECTORY_PROTECTED", "Folder Users is protected")
                self.add(whole, DIRECTORY)
            elif node.kind != DIRECTORY:
                raise exists(f"Node named '{whole}' already exists and is no directory")

    def children(self, path: str) -> List[Node]:
        """What is right in a directory, or the node itself."""
        node = self.need(path)
        if node.kind != DIRECTORY:
            return [node]
        return [n for p, n in sorted(self.nodes.items()) if p != "/" and posixpath.dirname(p) == path]


def clean(path: str) -> str:
    """A path without the prefix /Workspace.

    :raises ApiError: It is not absolute.
    """
    if not path.startswith("/"):
        raise invalid(f"Path ({path}) doesn't start with '/'")
    path = posixpath.normpath(path)
    return path[len("/Workspace") :] if path.startswith("/Workspace/") else path


def shape(node: Node) -> Dict[str, Any]:
    """`ObjectInfo`."""
    info = {"object_type": node.kind, "path": node.path, "object_id": node.object_id}
    info["resource_id"] = str(node.object_id)
    if node.kind == NOTEBOOK:
        modified = node.revisions[-1][0]
        info.update({"language": node.language, "created_at": node.created, "modified_at": modified})
    return info


def routes(platform: Platform, workspace: Workspace) -> List[Route]:
    """All of them."""

    def mkdirs(call: Call) -> Dict[str, Any]:
        with platform.lock:
            workspace.make_directories(clean(call.need("path")))
        return {}

    def get_status(call: Call) -> Dict[str, Any]:
        return shape(workspace.need(clean(call.need("path"))))

    def list_(call: Call) -> Dict[str, Any]:
        found = [shape(node) for node in workspace.children(clean(call.need("path")))]
        return {"objects": found} if found else {}

    def export(call: Call) -> Any:
        node = workspace.need(clean(call.need("path")))
        if node.kind != NOTEBOOK:
            raise invalid(f"Cannot export a {node.kind.lower()} ({node.path})")
        source = _revision(node, call)
        wanted = str(call.args.get("format") or "SOURCE")
        content, extension = notebooks.export(source, node.language, posixpath.basename(node.path), wanted)
        if call.flag("direct_download"):
            headers = {"Content-Disposition": f'attachment; filename="notebook.{extension}"'}
            return Response(content, mimetype="application/octet-stream", headers=headers)
        return {"content": base64.b64encode(content).decode(), "file_type": extension}

    def import_(call: Call) -> Dict[str, Any]:
        path, given = clean(call.need("path")), str(call.args.get("format") or "SOURCE")
        content = _content(call)
        if len(content) > platform.settings.max_notebook_bytes:
            raise ApiError(400, "MAX_NOTEBOOK_SIZE_EXCEEDED", f"Notebook size exceeds the limit: {len(content)}")
        source, language = notebooks.parse(content, given, str(call.args.get("language") or ""))
        with platform.lock:
            workspace.need_parent(path)
            node = workspace.nodes.get(path)
            if node is not None and (node.kind != NOTEBOOK or not call.flag("overwrite") or given == "DBC"):
                raise exists(f"Node named '{posixpath.basename(path)}' already exists")
            node = node or workspace.add(path, NOTEBOOK)
            node.language = language
            last = node.revisions[-1][0] if node.revisions else 0
            node.revisions.append((max(now(), last + 1), source))
        return {"object_id": node.object_id}

    def delete(call: Call) -> Dict[str, Any]:
        path = clean(call.need("path"))
        with platform.lock:
            below = [n for p, n in workspace.nodes.items() if p.startswith(path.rstrip("/") + "/")]
            node = workspace.need(path)
            if below and not call.flag("recursive"):
                raise ApiError(400, "DIRECTORY_NOT_EMPTY", f"Folder ({path}) is not empty")
            for gone in [*below, node]:
                if gone.kind == EXPERIMENT:
                    platform.ask("POST", "experiments/delete", {"experiment_id": str(gone.object_id)})
                del workspace.nodes[gone.path]
        return {}

    return [
        ("POST", f"{WORKSPACE}/mkdirs", mkdirs),
        ("GET", f"{WORKSPACE}/get-status", get_status),
        ("GET", f"{WORKSPACE}/list", list_),
        ("GET", f"{WORKSPACE}/export", export),
        ("POST", f"{WORKSPACE}/import", import_),
        ("POST", f"{WORKSPACE}/delete", delete),
    ]


def _revision(node: Node, call: Call) -> str:
    """Source at the revision that the request names; the newest by default."""
    asked = call.args.get("revision")
    if isinstance(asked, str):
        try:
            asked = json.loads(asked)
        except ValueError:
            raise invalid("Invalid revision") from None
    asked = asked.get("revision_timestamp") if isinstance(asked, dict) else asked
    asked = asked or call.args.get("revision.revision_timestamp") or call.args.get("revision_timestamp")
    if not asked:
        return node.revisions[-1][1]
    for moment, source in node.revisions:
        if str(moment) == str(asked):
            return source
    raise absent(f"Revision {asked} of {node.path} does not exist.")


def _content(call: Call) -> bytes:
    sent = call.request.files.get("content")
    if sent is not None:
        return sent.read()
    try:
        return base64.b64decode(call.args.get("content") or "", validate=True)
    except (binascii.Error, ValueError):
        raise invalid("The content is not base64-encoded") from None
