"""Opens both sides of a command that has two."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import Any, Iterator, Mapping, Tuple

from mlflow_migration.client.registry import Registry
from mlflow_migration.client.servers import open_registry, open_tracking
from mlflow_migration.client.tracking import Tracking
from mlflow_migration.common.workspaces import Pair

_NOT_NAMED = Pair()


@contextmanager
def two_servers(
    options: Mapping[str, Any], src_client: Any = None, dst_client: Any = None, pair: Pair = _NOT_NAMED
) -> Iterator[Tuple[Tracking, Tracking]]:
    """Give source and destination.

    :param options: ``src_mlflow_uri``, ``dst_mlflow_uri``, ``workers`` and ``dry_run`` of the command.
    :param src_client: A given MlflowClient for the source.
    :param dst_client: A given MlflowClient for the destination.
    :param pair: Their workspaces.
    """
    workers, dry_run = int(options.get("workers") or 8), bool(options.get("dry_run"))
    with ExitStack() as stack:
        both = [
            stack.enter_context(
                open_tracking(
                    options.get(f"{side}_mlflow_uri"),
                    side,
                    two_sided=True,
                    workers=workers,
                    mlflow_client=client,
                    dry_run=dry_run,
                    workspace=workspace or None,
                )  # fmt: skip
            )
            for side, client, workspace in (("src", src_client, pair.src), ("dst", dst_client, pair.dst))
        ]
        yield both[0], both[1]


@contextmanager
def two_registries(
    src: Tracking, dst: Tracking, options: Mapping[str, Any], pair: Pair = _NOT_NAMED
) -> Iterator[Tuple[Registry, Registry]]:
    """Give the model registries of source and destination.

    :param options: ``src_registry_uri``, ``dst_registry_uri``, ``workers`` and ``dry_run`` of the command.
    :param pair: Their workspaces.
    """
    workers, dry_run = int(options.get("workers") or 8), bool(options.get("dry_run"))
    with open_registry(
        src, options.get("src_registry_uri"), "src", two_sided=True, workers=workers, workspace=pair.src or None
    ) as first:
        with open_registry(
            dst, options.get("dst_registry_uri"), "dst", two_sided=True, workers=workers, dry_run=dry_run,
            workspace=pair.dst or None,
        ) as second:  # fmt: skip
            yield first, second
