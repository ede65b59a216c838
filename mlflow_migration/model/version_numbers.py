"""Gives versions the numbers that they have at the source: a server only counts up, and never gives a number twice."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from mlflow_migration.client.errors import MlflowExportImportException
from mlflow_migration.client.registry import PLACEHOLDER, VERSION_KEY, Registry, essential, is_placeholder
from mlflow_migration.client.tracking import tag_dict, tag_list

Json = Dict[str, Any]

MOST = 1_000  # numbers that are skipped without being asked to


class NumberTaken(MlflowExportImportException):
    """The destination has, or once had, another version with a number."""


class GapTooLarge(MlflowExportImportException):
    """More numbers would have to be skipped than the user has asked for."""


class Numbers:
    """The numbers of one registered model of the destination.

    :param registry: The destination.
    :param name: The registered model.
    :param there: Its versions.
    :param always: Fill gaps of any size.
    """

    def __init__(self, registry: Registry, name: str, there: Sequence[Json], always: bool) -> None:
        self._registry, self._name, self._always = registry, name, always
        self._left_over = [version["version"] for version in there if is_placeholder(version)]
        self._used = {int(version["version"]) for version in there} - {int(number) for number in self._left_over}
        self._last = max((int(version["version"]) for version in there), default=0)
        # the highest one stays until a version follows: deleted ones count, and then nothing would show how far it is
        self._kept: Optional[str] = None
        self.filled = 0
        """How many numbers were skipped."""

    def clear(self) -> None:
        """Delete what a killed import has left in a gap, but for the highest version; see :meth:`release`."""
        for number in self._left_over:
            if int(number) == self._last:
                self._kept = number
            else:
                self._registry.delete_version(self._name, number)
        self._left_over = []

    def release(self) -> None:
        """Delete what only shows which numbers are used up: a version has followed, or none will."""
        if self._kept is not None:
            self._registry.delete_version(self._name, self._kept)
            self._kept = None

    def check(self, number: int, after: int = 0) -> None:
        """Refuse a number that a new version can't have, as far as that shows without trying.

        :param after: A number that will have been given before.
        :raises NumberTaken: Another version has it, or has had it.
        :raises GapTooLarge: Too many numbers would have to be skipped.
        """
        if number in self._used:
            raise NumberTaken(
                f"the destination has another version {number} of '{self._name}' (see --on-version-conflict)"
            )
        if number <= self._last:
            raise NumberTaken(self._passed(number))
        gap = number - max(self._last, after) - 1
        if gap > MOST and not self._always:
            raise GapTooLarge(f"{gap} numbers are missing before {number}; --fill-gaps always skips as many")

    def is_passed(self, number: int) -> bool:
        """Tell whether the server has given a higher number."""
        return number <= self._last

    def _passed(self, number: int) -> str:
        return (
            f"the destination has gone past number {number} of '{self._name}', and gives none twice"
            " (see --on-version-conflict)"
        )

    def create(self, body: Json, number: Optional[int]) -> Json:
        """Create a version.

        :param body: As ``model-versions/create`` takes it; its tags have VERSION_KEY.
        :param number: The number that it must have; None for the next free one.
        :raises NumberTaken: It can't.
        :raises GapTooLarge: Too many numbers would have to be skipped.
        """
        if number is not None:
            self.check(number)
            self._fill(body, number)
        key = tag_dict(body["tags"])[VERSION_KEY]
        version = self._registry.create_version(body, lambda: self._find(key))
        made = int(version["version"])
        self._last = max(self._last, made)
        if number is not None and made != number:
            # versions that are deleted count, and nothing shows them; or another import was faster
            self._registry.delete_version(self._name, str(made))
            self.release()
            there = self._find(key)
            if there is None or int(there["version"]) != number:
                raise NumberTaken(self._passed(number))
            version, made = there, number
        self._used.add(made)
        self.release()
        return version

    def _fill(self, body: Json, number: int) -> None:
        # with the source of the version to come, which the server is going to take
        kept = ("name", "source", "run_id", "model_id")
        tags = {PLACEHOLDER: "true", **essential(tag_dict(body["tags"]))}
        filler: Json = {**{key: body[key] for key in kept if key in body}, "tags": tag_list(tags)}
        while self._last < number - 1:
            version = self._registry.create_version(filler, self._find_placeholder)
            self.release()
            self._kept = str(version["version"])
            self._last = int(version["version"])
            self.filled += 1

    def _find(self, key: str) -> Optional[Json]:
        versions = self._registry.versions(self._name)
        return next((found for found in versions if tag_dict(found.get("tags")).get(VERSION_KEY) == key), None)

    def _find_placeholder(self) -> Optional[Json]:
        found = filter(is_placeholder, self._registry.versions(self._name))
        return next((version for version in found if int(version["version"]) > self._last), None)
