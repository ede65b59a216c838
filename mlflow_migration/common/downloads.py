"""Brings the artifacts of one object from the source's store to its directory."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict, List, Optional, Sequence

from mlflow_migration.client.errors import BadDirectory, describe
from mlflow_migration.common.artifact_stores import File, Store
from mlflow_migration.common.artifacts import download, is_mlmodel
from mlflow_migration.common.export_dir import ExportDir
from mlflow_migration.common.job import Job
from mlflow_migration.common.store_copies import LEFT_AT

Json = Dict[str, Any]


class Downloads:
    """The directory of one object's artifacts, and what an earlier export has saved there.

    :param job: Ledger, threads, progress.
    :param owner: Id of the run or logged model.
    :param target: Its directory.
    :param folder: The folder with artifacts in it.
    :param info: ``info`` of the file that an earlier export wrote; None if there is none.
    """

    def __init__(self, job: Job, owner: str, target: ExportDir, folder: str, info: Optional[Json]) -> None:
        self._job, self._owner, self._target, self._folder = job, owner, target, folder
        self._before: Dict[str, Json] = {entry["path"]: entry for entry in (info or {}).get("artifacts", ())}
        self.gone: List[str] = []
        """Paths of files that the source no longer has, and that are kept."""

    def all_there(self, store: Store) -> bool:
        """Tell whether the directory still has what the earlier export saved.

        :param store: The source.
        """
        return all(self._saved(path) or self._still_left(store, path) for path in self._before)

    def _still_left(self, store: Store, path: str) -> bool:
        entry = self._before[path]
        return LEFT_AT in entry and self._job.copies is not None and self._job.copies.still_left(store, entry)

    def fetch(
        self, store: Store, listed: Optional[Sequence[File]], wanted: Sequence[File], recheck: bool, problems: List[str]
    ) -> List[Json]:
        """Bring files here that are not here yet.

        What an earlier export has saved stays where the source can't give it, no longer has it, or it is not wanted
        this time: that may be all that is left of it. Only what has changed at the source and is not wanted goes.

        :param listed: The files that the source has; None if that is not known.
        :param wanted: Those of them that are wanted.
        :param recheck: Read files again that are here.
        :param problems: Gets a sentence for each file that can't be read; each is recorded, too.
        :return: For each file that is here now its path, ``size`` in bytes and ``sha256``, and ``gone`` if the source
            no longer has it. Of one that a copy has left at the source see :meth:`StoreCopies.leave`.
        """
        sizes = None if listed is None else {file.path: file.size for file in listed}
        stored = {entry["path"]: entry for entry in self._read(store, wanted, recheck, problems)}
        for path in self._before.keys() - stored.keys():
            there = self._saved(path)
            gone = sizes is not None and path not in sizes
            if there and (sizes is None or gone or sizes[path] == there["size"]):
                stored[path] = {**there, **({"gone": True} if gone else {})}
                continue
            with suppress(BadDirectory):  # no file of ours
                self._target.remove(self._name(path))
        self.gone = sorted(path for path, entry in stored.items() if entry.get("gone"))
        self._job.ledger.add(gone=len(self.gone))
        return [stored[path] for path in sorted(stored)]

    def _read(self, store: Store, files: Sequence[File], recheck: bool, problems: List[str]) -> List[Json]:
        def fetch(file: File) -> Json:
            there = self._saved(file.path)
            if there and not recheck and there["size"] == file.size:
                return {name: value for name, value in there.items() if name != "gone"}
            left = self._left(store, file, recheck)
            if left is not None:
                return left
            found = download(store, file.path, self._target, self._name(file.path))
            self._job.progress.advance(0, bytes=found["size"])
            self._job.ledger.add(artifacts=1, bytes=found["size"])
            return {"path": file.path, **found}

        stored: List[Json] = []
        for outcome in self._job.executor.gather(fetch, files):
            if outcome.error is None:
                stored.append(outcome.get())
                continue
            path = outcome.item.path
            there = self._saved(path)
            stored += [there] if there else []
            kept = " (what an earlier export has saved is kept)" if there else ""
            problems.append(f"artifact {path}: {describe(outcome.error)}{kept}")
            self._job.lost("artifact", f"{self._owner}/{path}", outcome.error, "artifacts")
        return stored

    def _left(self, store: Store, file: File, recheck: bool) -> Optional[Json]:
        """Leave a file at the source, if a copy may, and return its record. MLmodel files get new ids here."""
        if self._job.copies is None or is_mlmodel(file.path):
            return None
        self._target.size(self._name(file.path))  # a name that can't be one in a directory is refused here, too
        return self._job.copies.leave(store, file, recheck)

    def _name(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def _saved(self, path: str) -> Optional[Json]:
        entry = self._before.get(path)
        try:
            there = entry is not None and LEFT_AT not in entry and self._target.size(self._name(path)) == entry["size"]
        except BadDirectory:
            return None  # a symbolic link, or a name that no export has written
        return entry if there else None


def kept(gone: Sequence[str]) -> List[str]:
    """Return a sentence on files that the source no longer has; none if there are none."""
    return [f"kept, although the source no longer has them: {', '.join(gone)}"] if gone else []
