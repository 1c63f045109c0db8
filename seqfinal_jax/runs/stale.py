"""Which results of a run folder were computed by code that has changed since, whether this run asks for them or not."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models.families.architectures import FAMILIES
from seqfinal_jax.records.plugin_code import PluginCode
from seqfinal_jax.records.registry import Registry
from seqfinal_jax.results.run_folder import CellFolder, model_record
from seqfinal_jax.runs.plan import Plan, planned

Result = Mapping[str, Any]


def stale_cells(
    plan: Plan, results: Iterable[tuple[CellFolder, Result]], codes: Iterable[PluginCode]
) -> Iterator[CellFolder]:
    """The cells whose data or recipe are not what the loaded code gives.

    A cell that the run does not ask for is looked at where its method or network is a user's that is loaded: it is
    planned like the others. Where it has options that this run does not set, its plugin must be the one that made it.
    """
    codes = tuple(codes)

    @cache
    def now(method: str, architecture: str, name: str) -> str:
        return _fingerprint(plan, method, architecture, name)

    for cell, result in results:
        place, method = (cell.architecture, cell.method), result.get("label", {}).get("method", cell.method)
        if _has_other_data(plan, result):
            yield cell
        elif place in plan.planned:
            if result.get("recipe") != plan.key(place[0], plan.node(*place)):
                yield cell
        elif _is_users(METHODS, method) or _is_users(FAMILIES, cell.architecture.rpartition("-")[0]):
            found = now(method, *place)
            if result.get("recipe") != found if found else _has_other_code(cell, method, codes):
                yield cell


def _has_other_data(plan: Plan, result: Result) -> bool:
    there = result.get("data", {}).get("identity", {})
    return any(there[variant] != plan.identity[variant] for variant in there.keys() & plan.identity.keys())


def _is_users(registry: Registry[Any], name: str) -> bool:
    return name in registry and registry.origin(name) is not None


def _fingerprint(plan: Plan, method: str, architecture: str, name: str) -> str:
    """The fingerprint that a cell would have in a run of this configuration; empty where it would have none."""
    try:
        other = planned(replace(plan.spec, methods=(method,), architectures=(architecture,)), plan.source)
    except Exception:  # the user's code, or options that do not go together
        return ""
    found = (architecture, name) in other.planned
    return other.key(architecture, other.node(architecture, name)) if found else ""


def _has_other_code(cell: CellFolder, method: str, codes: Iterable[PluginCode]) -> bool:
    """Whether the model was trained with another version of the plugin that defines its method."""
    origin = METHODS.origin(method) if method in METHODS else None
    own = {str(code.origin): code.digest for code in codes if origin in map(str, code.places.values())}
    records = [record for record in model_record(cell).get("plugins", ()) if isinstance(record, dict)]
    return any(own.get(record["path"], record["digest"]) != record["digest"] for record in records)
