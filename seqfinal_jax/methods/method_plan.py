"""The recipes of a run: methods by architecture, with their derived ids, and messages for the user."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from seqfinal_jax.methods.method import METHODS, Method, Reason
from seqfinal_jax.methods.nodes import Choice, Node, all_nodes, all_stages, stage_of
from seqfinal_jax.methods.recipe_check import check_axes, check_nodes
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.models.families.architectures import FAMILIES

VALIDATION = "validation accuracy of the final step"
TEST = "validation accuracy of the final step; the learning-rate decay by TEST accuracy (as published)"


@dataclass(frozen=True)
class MethodPlan:
    """One method for one architecture: its id with options, the method it derives from, and its nodes."""

    id: str
    method: str
    node: Node

    @property
    def selection(self) -> str:
        """The criterion by which the reported model is selected."""
        own = stage_of(self.node).objective.selection
        return own or (TEST if selects_on_test(self.node) else VALIDATION)


@dataclass
class MethodPlans:
    """All methods of a run by (architecture, id), the methods left out, and messages for the user."""

    found: dict[tuple[str, str], MethodPlan] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_methods(
    methods: Sequence[str],
    asked: bool,
    settings: Mapping[str, Setting],
    variants: Collection[str] | None = None,
) -> MethodPlans:
    """The nodes of `methods` for every architecture of `settings`.

    `asked`: whether the user named the methods; then a method that no architecture can use is an error. `variants`: the
    builds of the sequence that the data offer; None for any. Raises ValueError for unknown methods and for combinations
    that do not work.
    """
    plans = MethodPlans()
    for name in methods:
        _plan_method(plans, METHODS.get(name), asked, settings, variants)
    plans.warnings += tuple(_warnings(plans))
    return plans


def _plan_method(
    plans: MethodPlans,
    record: Method,
    asked: bool,
    settings: Mapping[str, Setting],
    variants: Collection[str] | None,
) -> None:
    """Adds one method for every architecture that has it."""
    options = record.effective(next(iter(settings.values())).options)
    if record.refuses and (why := record.refuses(record, options)):
        raise ValueError(why)
    built, missing = {}, {}
    for name, setting in settings.items():
        why = lacks(record, setting)
        if not why:
            built[name] = record.build(setting)
            check_nodes(record, built[name], setting.num_steps)
            why = _lacks_variant(built[name], variants)
        if why:
            missing[name] = why
    check_axes(record, built, settings)
    if asked and len(missing) == len(settings):
        raise ValueError(f"config.methods: {record.id}: {next(iter(missing.values()))}")
    if missing:
        why = next(iter(missing.values()))
        plans.left_out += (f"{record.id} is left out for {', '.join(missing)}: {why}",)
    remarks = [record.remark(record.own(setting)) for setting in settings.values()] if record.remark else []
    plans.warnings += tuple(dict.fromkeys(filter(None, remarks)))
    for name in settings:
        if name not in missing:
            _add(plans, name, record, settings[name], built[name])


def lacks(record: Method, setting: Setting) -> Reason:
    """Why a network cannot use a method, or None where it can."""
    own = record.own(setting)
    if record.lacks and (why := record.lacks(own)):
        return why
    options = own.options
    mode = options.joint.mode if "joint" in record.options else options.mode
    if (
        mode == "side_tune"
        and options.side != "block"
        and not FAMILIES.get(setting.family).small_side_modules
    ):
        other = f"{record.id}_block"
        instead = f"use {other}" if other in METHODS else "set config.side.layer_sizes to 'block'"
        return f"{FAMILIES.get(setting.family).title} has no side modules other than whole blocks; {instead}"
    return None


def _lacks_variant(node: Node, variants: Collection[str] | None) -> Reason:
    wanted = [stage.variant for stage in all_stages(node)]
    absent = [name for name in wanted if variants is not None and name not in variants]
    return f"these data have no variant {absent[0]!r}" if absent else None


def _add(plans: MethodPlans, architecture: str, record: Method, setting: Setting, node: Node) -> None:
    name = record.derived_id(setting)
    if (architecture, name) in plans.found:
        raise ValueError(
            f"config.methods: with these options {plans.found[architecture, name].method} and {record.id} are the same "
            f"method, {name}; leave one out"
        )
    plans.found[architecture, name] = MethodPlan(name, record.id, node)


def _warnings(plans: MethodPlans) -> list[str]:
    """What selects or trains on data that a careful user would keep apart."""
    said = []
    on_test = [each.id for each in plans.found.values() if selects_on_test(each.node)]
    if on_test:
        said.append(f"{_listed(on_test)}: the learning-rate decay is SELECTED ON TEST DATA, as published")
    on_last = [each.id for each in plans.found.values() if history_holds_last(each.node)]
    if on_last:
        said.append(f"{_listed(on_last)}: the HISTORY HOLDS THE FINAL STEP's training data, as published")
    return said


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def selects_on_test(node: Node) -> bool:
    """Whether any choice among the nodes uses test accuracy."""
    return any(isinstance(each, Choice) and each.by == "test" for each in all_nodes(node))


def history_holds_last(node: Node) -> bool:
    """Whether a stage before the final one trains on the final step."""
    return any(stage.role == "start" and stage.train[-1] > stage.valid[-1] for stage in all_stages(node))
