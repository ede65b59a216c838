"""Compares experiments with their copies: the experiments themselves, their runs and logged models."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from mlflow_migration.client.tracking import RUN_KEY
from mlflow_migration.common.job import Job
from mlflow_migration.verify.compare import Comparer, Comparison, How, as_kept, guarded
from mlflow_migration.verify.links import Links
from mlflow_migration.verify.objects import EXPERIMENT, EXPERIMENT_SET_BY_DATABRICKS, LOGGED_MODEL, RUN, Thing
from mlflow_migration.verify.report import Report
from mlflow_migration.verify.server_side import GROUP, ServerSide

_DELETED_RUNS = "deleted at the source, without a copy; --export-deleted-runs counts them as missing"
_OF_DELETED_RUN = "their run is deleted at the source; --export-deleted-runs counts them as missing"
_OF_OTHER_RUN = "their run is none of those that were asked for"
_AT_ONCE = 50  # ids in one question


class ExperimentVerifier:
    """Compares the experiments of one verification.

    :param job: Threads and progress.
    :param src: The source.
    :param dst: The destination.
    :param links: What is a copy of what.
    :param how: What is compared.
    :param report: Gets the results.
    """

    def __init__(self, job: Job, src: Any, dst: ServerSide, links: Links, how: How, report: Report) -> None:
        self._job, self._src, self._dst, self._links = job, src, dst, links
        self._how, self._report = how, report
        self._comparer = Comparer(job.executor, links, how, report)
        self.left_out: Set[str] = set()
        """Deleted runs that are not expected to have copies."""
        self._linked: Set[str] = set()
        self._seen: Set[Tuple[str, str]] = set()
        self.compared: Set[Tuple[str, str, str]] = set()
        """Kind, source id and destination id of what was compared."""

    def index(self, experiment_id: str) -> None:
        """Read what an experiment of the destination has, before anything is compared."""
        for _, run_id, key in self._dst.keys_of_runs([experiment_id]):
            self._links.note(RUN, experiment_id, run_id, key)
        for page in self._dst.logged_models(Thing(EXPERIMENT, experiment_id)):
            for model in page:
                self._links.note(LOGGED_MODEL, experiment_id, model.id, model.key)
        self._links.note_id_map(experiment_id, RUN, LOGGED_MODEL)

    def experiment(self, src: Thing, dst: Thing) -> None:
        """Compare an experiment, its runs and its logged models with those of its copy."""
        pair = Comparison(src, dst, dst.id)
        if self._how.depth == "counts":
            pair.fields(*({"lifecycle_stage": side.fields["lifecycle_stage"]} for side in (src, dst)))
        else:
            there = dict(dst.fields)
            as_kept(pair, src.fields, there, EXPERIMENT_SET_BY_DATABRICKS)
            pair.fields(src.fields, there)
        pair.record(self._report)
        self._job.progress.add_total(len(self._links.there(RUN, dst.id)))
        matched: Set[str] = set()
        self._linked = set()
        for runs in self._src.runs(src):
            self._runs(runs, dst.id, matched)
        self._extra(RUN, dst.id, matched)
        matched = set()
        seen: Set[str] = set()
        for models in self._src.logged_models(src):
            seen.update(model.id for model in models)
            self._logged_models(models, dst.id, matched)
        self._logged_models(list(self._other_models(src, dst, seen)), dst.id, matched)
        self._extra(LOGGED_MODEL, dst.id, matched)

    def _other_models(self, src: Thing, dst: Thing, seen: Set[str]) -> Iterator[Thing]:
        """Yield the logged models that no search shows: deleted ones, and those of other experiments that came along.

        They are known only if a run is linked to them.
        """
        for model_id in sorted(self._linked - seen):
            model = self._src.logged_model(model_id, deleted=True)
            if model is None:
                continue
            is_own = model.parent_id == src.id
            if not is_own:
                model.deleted, model.fields["lifecycle_stage"] = False, "active"
            if is_own or self._links.copies(model, dst.id):
                yield model

    def _extra(self, kind: str, experiment_id: str, matched: Set[str]) -> None:
        for dst_id in sorted(self._links.there(kind, experiment_id) - matched):
            if kind == RUN and self._links.is_holder(dst_id):
                continue
            home = self._links.home(kind, dst_id)
            if home and self._src.where:
                continue  # of a run that was not asked for
            reason = f"made from {home}, which the source does not have" if home else "made by no import"
            self._report.record(kind, "extra", dst_id=dst_id, reason=reason)

    # -- runs ---------------------------------------------------------------------------------------------------

    def _runs(self, runs: Sequence[Thing], experiment_id: str, matched: Set[str]) -> None:
        copies: Dict[str, List[str]] = {}
        for run in runs:
            found = [] if run.error is not None else self._links.copies(run, experiment_id)
            matched.update(found)
            if found:
                copies[run.id] = found
            else:
                self._lacking(run)
        there: Dict[str, Thing] = {}
        ids = [dst_id for found in copies.values() for dst_id in found[:1]]
        for start in range(0, len(ids), GROUP):
            there.update(self._dst.runs_by_id(experiment_id, ids[start : start + GROUP]))
        pairs = []
        for run in runs:
            found = copies.get(run.id, [])
            if found and found[0] in there:
                pair = Comparison(run, there[found[0]], experiment_id)
                if len(found) > 1:
                    pair.differ("copies", "1", f"{len(found)}: {', '.join(found)}")
                pairs.append(pair)
            elif found:
                self._report.missing(run)  # it was there when the experiment was listed
        self._compare_runs(pairs)

    def _lacking(self, run: Thing) -> None:
        self._job.progress.advance()
        if run.error is None and run.deleted and not self._how.deleted_runs:
            self.left_out.add(run.id)
            self._report.leave_out(RUN, _DELETED_RUNS)
            return
        self._report.missing(run)

    def _compare_runs(self, pairs: Sequence[Comparison]) -> None:
        if self._how.depth != "counts":
            guarded(self._job.executor, self._add_model_inputs, pairs)
        self._linked.update(model_id for pair in pairs for _, model_id in pair.src.models)
        readable = [pair for pair in pairs if not pair.errors]
        guarded(self._job.executor, self._comparer.run, readable)
        if self._how.depth == "full":
            self._comparer.points(readable, self._src, self._dst)
        for pair in pairs:
            pair.record(self._report)
            self.compared.add((RUN, pair.src.id, pair.dst.id))
            self._seen.add((RUN, pair.src.id))
        self._job.progress.advance(len(pairs))

    def _add_model_inputs(self, pair: Comparison) -> None:
        self._src.add_model_inputs(pair.src)
        self._dst.add_model_inputs(pair.dst)

    # -- logged models ------------------------------------------------------------------------------------------

    def _logged_models(self, models: Sequence[Thing], experiment_id: str, matched: Set[str]) -> None:
        copies: Dict[str, List[str]] = {}
        for model in models:
            found = [] if model.error is not None else self._copies_of_model(model, experiment_id)
            matched.update(found)
            if found:
                copies[model.id] = found
            else:
                self._lacking_model(model)
        listed = self._links.there(LOGGED_MODEL, experiment_id)

        def read(model: Thing) -> Optional[Thing]:
            dst_id = copies[model.id][0]
            return self._dst.logged_model(dst_id, deleted=dst_id not in listed)

        pairs: List[Comparison] = []
        for outcome in self._job.executor.gather(read, [model for model in models if model.id in copies]):
            model, found = outcome.item, copies[outcome.item.id]
            if outcome.error is not None:
                self._report.broken(model, outcome.error)
            elif outcome.value is None:
                self._report.missing(model)
            else:
                pairs.append(Comparison(model, outcome.value, experiment_id))
                if len(found) > 1:
                    pairs[-1].differ("copies", "1", f"{len(found)}: {', '.join(found)}")
        guarded(self._job.executor, self._comparer.logged_model, pairs)
        for pair in pairs:
            pair.record(self._report)
            self.compared.add((LOGGED_MODEL, pair.src.id, pair.dst.id))
            self._seen.add((LOGGED_MODEL, pair.src.id))

    def _copies_of_model(self, model: Thing, experiment_id: str) -> List[str]:
        found = self._links.copies(model, experiment_id)
        if found:
            return found
        # no search shows the deleted ones; the id map may, and the links of the run that made it
        known = [
            entry["dst_id"] for entry in self._links.entries(LOGGED_MODEL, experiment_id) if entry["src_id"] == model.id
        ]
        run_id = model.fields["source_run_id"]
        for copy in self._links.copies(Thing(RUN, run_id), experiment_id) if run_id else ():
            outputs = (self._dst.tracking.run(copy).get("outputs") or {}).get("model_outputs") or ()
            known += [link["model_id"] for link in outputs]
        return [dst_id for dst_id in dict.fromkeys(known) if self._links.home(LOGGED_MODEL, dst_id) == model.id]

    def _lacking_model(self, model: Thing) -> None:
        made_by = "" if model.error is not None else model.fields["source_run_id"]
        if made_by in self.left_out:
            self._report.leave_out(LOGGED_MODEL, _OF_DELETED_RUN)
        elif model.error is None and self._src.where and (RUN, made_by) not in self._seen:
            self._report.leave_out(LOGGED_MODEL, _OF_OTHER_RUN)
        else:
            self._report.missing(model)

    # -- runs and logged models without their experiment --------------------------------------------------------

    def loose(self) -> None:
        """Compare what a directory has without its experiment: it may have gone into any."""
        experiments = [experiment.id for experiment in self._dst.experiments()]
        scopes: Set[str] = set()
        for runs in self._src.loose_runs():
            fresh = [run for run in runs if (RUN, run.id) not in self._seen]
            for experiment_id, group in self._by_experiment(fresh, experiments).items():
                if experiment_id and experiment_id not in scopes:
                    self.index(experiment_id)
                    scopes.add(experiment_id)
                self._runs(group, experiment_id, set())
        for models in self._src.loose_models():
            for model in [model for model in models if (LOGGED_MODEL, model.id) not in self._seen]:
                homes = [scope for scope in sorted(scopes) if self._copies_of_model(model, scope)]
                self._logged_models([model], homes[0] if homes else "", set())

    def _by_experiment(self, runs: Sequence[Thing], experiments: Sequence[str]) -> Dict[str, List[Thing]]:
        """Return the runs by the destination's experiments that have a copy; by an empty id if none has.

        What the id map says counts: other imports may have made more copies.
        """
        found: Dict[str, List[Thing]] = {}
        readable = [run for run in runs if run.error is None]
        places: Dict[str, Set[str]] = {}
        for entry in self._links.entries(RUN):
            places.setdefault(entry["src_id"], set()).add(entry["experiment_id"])
        for run in readable:
            if run.id in places:
                continue
            where = f"tags.`{RUN_KEY}` = '{run.id}'"
            places[run.id] = {experiment_id for experiment_id, _, _ in self._dst.keys_of_runs(experiments, where)}
            if not places[run.id]:  # the source's own server, or the one that it once came from
                homes = [self._dst.run_home(run_id) for run_id in (run.id, run.key) if run_id]
                places[run.id] = {home for home in homes if home} or {""}
        for run in runs:
            for experiment_id in sorted(places.get(run.id, {""})):
                found.setdefault(experiment_id, []).append(run)
        return found
