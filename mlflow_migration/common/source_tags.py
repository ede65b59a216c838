"""Tags that keep what the source said and the destination sets itself: ids, times, users."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from mlflow_migration.client.errors import redact
from mlflow_migration.common.timestamp_utils import fmt_ts_millis

_TIMES = ("creation_timestamp", "last_updated_timestamp", "creation_time", "last_update_time")
_MLFLOW = "mlflow."


class ExportFields:
    """Top-level keys of the files of an export."""

    SYSTEM = "system"
    INFO = "info"
    MLFLOW = "mlflow"
    SPANS = "spans"


class ExportTags:
    """Beginnings of the keys of source tags; a dot and the field's name follow."""

    PREFIX_ROOT = "mlflow_exim"
    PREFIX_FIELD = f"{PREFIX_ROOT}.field"
    PREFIX_RUN_INFO = f"{PREFIX_ROOT}.run_info"
    PREFIX_MLFLOW_TAG = f"{PREFIX_ROOT}.mlflow_tag"


SOURCE_URI = f"{ExportTags.PREFIX_ROOT}.artifacts.source_uri"
"""Tag of a copy whose artifacts were not copied: where those of the source are."""


def mk_source_uri_tag(uri: str) -> Dict[str, str]:
    """Return the tag that says where artifacts are that were not copied; none if there is no such place."""
    return {SOURCE_URI: redact(uri)} if uri else {}


def mk_source_tags(tags: Mapping[str, Any], prefix: str) -> Dict[str, str]:
    """Return fields as tags.

    :param tags: Fields by name, such as a run's info; those that are None have nothing to keep.
    :param prefix: One of :class:`ExportTags`.
    """
    return {f"{prefix}.{key}": str(value) for key, value in tags.items() if value is not None}


def mk_source_tags_mlflow_tag(tags: Mapping[str, str]) -> Dict[str, str]:
    """Return each tag ``mlflow.<rest>`` as ``mlflow_exim.mlflow_tag.<rest>``; other tags are left out."""
    system = {key[len(_MLFLOW) :]: value for key, value in tags.items() if key.startswith(_MLFLOW)}
    return mk_source_tags(system, ExportTags.PREFIX_MLFLOW_TAG)


def without_source_tags(fields: Mapping[str, str], prefix: str = "") -> Dict[str, str]:
    """Return tags without source tags, for an object that has come back to where it was first: it needs none.

    :param fields: Tags, or a state, which names them with a prefix.
    :param prefix: ``tag:`` for a state.
    """
    return {key: value for key, value in fields.items() if not key.startswith(f"{prefix}{ExportTags.PREFIX_ROOT}.")}


def has_source_tags(there: Mapping[str, str], source: Mapping[str, str], but: str) -> bool:
    """Tell whether an import has given a copy source tags.

    :param there: Tags of the copy.
    :param source: Tags of what it was made from.
    :param but: The key tag, which every copy has.
    """
    found = there.keys() - without_source_tags(there).keys()
    return any(key not in (but, SOURCE_URI) and key not in source for key in found)


def fmt_timestamps(tag: str, dct: Mapping[str, Any], tags: Dict[str, str]) -> None:
    """Add a time, as milliseconds and as UTC text, to tags.

    :param tag: The field's name; nothing is added if ``dct`` has no value for it.
    :param dct: Fields of an experiment or a model version.
    :param tags: Changed in place.
    """
    millis = dct.get(tag)
    if millis is not None:
        tags[f"{ExportTags.PREFIX_FIELD}.{tag}"] = str(millis)
        tags[f"{ExportTags.PREFIX_FIELD}._{tag}"] = str(fmt_ts_millis(int(millis)))


def set_source_tags_for_field(dct: Mapping[str, Any], tags: Dict[str, str]) -> None:
    """Add the plain fields of an experiment or a model version to tags; its own tags and lists are left out.

    :param dct: The object's fields.
    :param tags: Changed in place.
    """
    plain = {key: value for key, value in dct.items() if not isinstance(value, (dict, list, tuple))}
    tags.update(mk_source_tags(plain, ExportTags.PREFIX_FIELD))
    for time in _TIMES:
        fmt_timestamps(time, dct, tags)
