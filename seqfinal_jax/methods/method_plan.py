"""Which recipes a run consists of: methods by architecture, with their derived ids, and what to tell the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from seqfinal_jax.methods.catalogue import RECIPES
from seqfinal_jax.methods.options import (
    JOINT,
    SIDE,
    Options,
    check_options,
    derived_id,
    effective,
    idle_options,
    unused_options,
)
from seqfinal_jax.methods.recipe import Choice, Node, Setting, all_stages

VALIDATION = "validation accuracy of the final step"
TEST = "validation accuracy of the final step; the learning-rate decay by TEST accuracy (as published)"


@dataclass(frozen=True)
class MethodPlan:
    """One method of one architecture: its id with options, the method it derives from, its recipe."""

    id: str
    method: str
    node: Node

    @property
    def selection(self) -> str:
        """By what the reported model is selected."""
        return TEST if selects_on_test(self.node) else VALIDATION


@dataclass
class MethodPlans:
    """All methods of a run by (architecture, id), the methods left out, and what the user should know."""

    found: dict[tuple[str, str], MethodPlan] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_methods(methods: Sequence[str], asked: bool, settings: Mapping[str, Setting]) -> MethodPlans:
    """The recipes of `methods` for every architecture of `settings`.

    `asked`: whether the user named the methods; then one that no architecture has is an error, and options that reach
    none of them are. Raises ValueError for unknown methods and combinations that do not work.
    """
    plans = MethodPlans()
    options = next(iter(settings.values())).options
    for method in methods:
        RECIPES.get(method)
        check_options(method, options)
        missing = {name: why for name, setting in settings.items() if (why := lacks(method, setting))}
        if asked and len(missing) == len(settings):
            raise ValueError(f"config.methods: {method}: {next(iter(missing.values()))}")
        if missing:
            plans.left_out += (
                f"{method} is left out for {', '.join(missing)}: {next(iter(missing.values()))}",
            )
        for name, setting in settings.items():
            if name not in missing:
                _add(plans, name, method, setting)
    plans.warnings += tuple(_warnings(plans, methods, options))
    return plans


def lacks(method: str, setting: Setting) -> str | None:
    """Why an architecture does not have a method, or None where it has."""
    found = effective(method, setting.options)
    if setting.family == "convnet" and method in SIDE and found.side != "block":
        return f"a ConvNet has no side modules other than whole blocks; use {method}_block"
    if method in JOINT and found.pretrained and found.joint.mode != "separate":
        return "the joint model starts from config.pretrained.resnet18 in mode 'separate' only"
    return None


def _add(plans: MethodPlans, architecture: str, method: str, setting: Setting) -> None:
    name = derived_id(method, setting.options, setting.num_blocks)
    if (architecture, name) in plans.found:
        raise ValueError(
            f"config.methods: with these options {plans.found[architecture, name].method} and {method} are the same "
            f"method, {name}; leave one out"
        )
    own = replace(setting, options=effective(method, setting.options))
    plans.found[architecture, name] = MethodPlan(name, method, RECIPES.get(method)(own))


def _warnings(plans: MethodPlans, methods: Sequence[str], options: Options) -> list[str]:
    """What does nothing, and what selects or trains on data that a careful user would keep apart."""
    if unused := unused_options(methods, options):
        raise ValueError(
            f"{', '.join(unused)}: what is set there changes none of the methods {', '.join(methods)}; "
            f"leave it at its default, or add a method or a mode that it acts on"
        )
    idle = {name for method in methods for name in idle_options(method, options)}
    said = [f"{', '.join(sorted(idle))} have no effect in mode {options.mode!r}"] if idle else []
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
    """Whether a choice on the way looks at test accuracy."""
    if isinstance(node, Choice):
        return node.by == "test" or any(selects_on_test(candidate) for candidate in node.candidates)
    return node.start is not None and selects_on_test(node.start)


def history_holds_last(node: Node) -> bool:
    """Whether a stage before the final one trains on the final step."""
    stages = list(all_stages(node))
    return any(stage.role == "start" and stage.train[-1] > stage.valid[-1] for stage in stages)
