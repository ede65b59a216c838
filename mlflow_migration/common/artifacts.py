"""Files of an artifact tree: found, chosen, brought into a directory; and what an MLmodel file may hold."""

from __future__ import annotations

import fnmatch
import posixpath
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mlflow_migration.client.errors import BadDirectory, Unavailable
from mlflow_migration.common.artifact_stores import File, Store
from mlflow_migration.common.executor import Executor
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job

SKIP = "--artifacts skip"
_ATTEMPTS = 4


def list_files(store: Store, executor: Executor, root: str = "") -> List[File]:
    """Return all files of a tree, sorted by path; directories of one level are listed side by side.

    A directory that lies nowhere below the one where it is listed comes as a file, which is refused when it is read:
    to follow it could take for ever.
    """
    return sorted((file for _, found in levels(store, executor, root) for file in found), key=lambda file: file.path)


def levels(store: Store, executor: Executor, root: str = "") -> Iterator[Tuple[List[str], List[File]]]:
    """Yield the directories and the files of each level of a tree; see :func:`list_files`."""
    level = [root]
    while level:
        outcomes = executor.gather(store.list_dir, level) if len(level) > 1 else None
        results = [store.list_dir(level[0])] if outcomes is None else [outcome.get() for outcome in outcomes]
        files: List[File] = []
        parents, level = level, []
        for parent, (dirs, found) in zip(parents, results):
            files += found
            level += [name for name in dirs if _is_below(name, parent)]
            files += [File(name, -1) for name in dirs if not _is_below(name, parent)]
        yield level, files


def _is_below(path: str, parent: str) -> bool:
    start = f"{parent}/" if parent else ""
    return path.startswith(start) and not {"", ".", ".."} & set(path[len(start) :].split("/"))


@dataclass(frozen=True)
class ArtifactFilter:
    """Which artifacts are copied.

    :param include: Globs on paths; empty means all.
    :param exclude: Globs on paths that are left out.
    :param max_size: Largest file in bytes; None means any.
    :param skip: Leave all of them out.
    """

    include: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()
    max_size: Optional[int] = None
    skip: bool = field(default=False, repr=False)  # fingerprints of logged models have the others' repr in them

    def refuses(self, file: File) -> Optional[str]:
        """Return the option that leaves the file out, or None if it is to be copied."""
        if self.skip:
            return SKIP
        if self.include and not any(fnmatch.fnmatchcase(file.path, glob) for glob in self.include):
            return "--include-artifacts"
        if any(fnmatch.fnmatchcase(file.path, glob) for glob in self.exclude):
            return "--exclude-artifacts"
        if self.max_size is not None and file.size > self.max_size:
            return "--max-artifact-size"
        return None


def choose(files: Sequence[File], chosen: ArtifactFilter, job: Job, owner: str) -> List[File]:
    """Return the files that are to be copied, and record the others as skipped.

    :param owner: Id of the run or logged model that they belong to.
    """
    wanted: List[File] = []
    for file in files:
        option = chosen.refuses(file)
        if option is None:
            wanted.append(file)
        else:
            job.ledger.record("artifact", "skipped", f"{owner}/{file.path}", reason=option, size=file.size)
    return wanted


def skip_unlisted(job: Job, owner: str) -> None:
    """Record that artifacts are skipped which can't be listed either: then nobody knows how many there are."""
    job.ledger.record("artifact", "skipped", owner, reason=f"{SKIP}; they can't be listed")


def download(store: Store, path: str, target: ExportDir, rel: str) -> Dict[str, Any]:
    """Copy one artifact into an export directory.

    :param path: Where it lies in the store.
    :param rel: Where it goes in the directory; checked there.
    :return: ``size`` in bytes and ``sha256`` of what was written.
    :raises MlflowExportImportException: It can't be read.
    """
    for attempt in range(_ATTEMPTS):
        begun = False
        try:
            with target.new_file(rel) as out, store.read(path) as blocks:
                begun = True
                for block in blocks:
                    out.write(block)
            return {"size": out.size, "sha256": out.sha256}
        except Unavailable:
            if not begun or attempt == _ATTEMPTS - 1:  # only a body that broke off was not asked for again already
                raise
    raise AssertionError("not reached")


def is_mlmodel(path: str) -> bool:
    """Tell whether an artifact is the description of a model, which holds ids."""
    return posixpath.basename(path) == "MLmodel"


def rewritten(content: bytes, replacements: Sequence[Tuple[str, str]]) -> bytes:
    """Return an MLmodel file with ids and locations of the source replaced by those of the destination.

    The text is not parsed and written anew: everything else stays byte for byte.

    :param replacements: (old, new); locations before ids, as the former contain the latter.
    """
    for old, new in replacements:
        if old and new:
            content = content.replace(old.encode(), new.encode())
    return content


def check_mlmodel(path: str, content: bytes) -> None:
    """Refuse an MLmodel file that would make a YAML loader build objects.

    It is read, but nothing is made of it: a few lines of YAML can stand for more than the memory holds.

    :raises BadDirectory: It is no plain YAML.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(content, Loader=loader):
            tag = getattr(event, "tag", None) or "!"
            if tag != "!" and tag not in loader.yaml_constructors:
                raise BadDirectory(f"{path} is not uploaded: it is no plain YAML: it has a {tag}")
    except yaml.YAMLError as ex:
        raise BadDirectory(f"{path} is not uploaded: it is no plain YAML: {' '.join(str(ex).split())}") from ex
