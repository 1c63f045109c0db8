"""The record of a method: the only place that knows one.

    @method("erm_final", column="Final", legend="ERM final", family="reference", published=True)
    def erm_final(setting: Setting) -> Node: ...

The published row, aliases, derived ids, which options reach a method and what its name fixes, tables, legends and
documentation all come from these records. A file of a user's own adds records the same way.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from seqfinal_jax.methods.nodes import Node
from seqfinal_jax.methods.options import Options, changed, effective
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.records.code_identity import defined_in
from seqfinal_jax.records.kinds import Kind
from seqfinal_jax.records.registry import Registry

Recipe = Callable[[Setting], Node]
Reason = str | None

REFERENCE, ALL, ADAPT, FOLLOW, JOINT = (
    "reference", "all data", "history, then adapt", "sequential", "joint",
)  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """A hyper-parameter that a method adds to the grid: its name, the values tried, what it means, what it may be."""

    name: str
    values: tuple[float, ...]
    meaning: str = ""
    kind: Kind | None = None


@dataclass(frozen=True)
class Field:
    """An option that a method declares for itself: `config.<method id>.<name>`.

    kind: what it may be; by default anything of the type of `default`.
    """

    name: str
    default: Any
    meaning: str = ""
    kind: Kind | None = None


@dataclass(frozen=True)
class Method:
    """One method.

    id: its name in `config.methods`. recipe: builds its nodes. column, legend: its names in tables and in figures.
    family: the methods among which it is shown. summary: one sentence for lists and documentation.
    aliases: other names that are accepted, such as the published directory names.
    options: the options (fields of `Options`) that reach it. fixed: options that its name settles, whatever is set.
    published: whether it stands in the row of the published table.
    naming: its id with what the options change; default: the id, and every changed option behind it.
    refuses: why it cannot be built with these options, or None. lacks: why this network does not have it, or None.
    remark: what a user should know before it is fitted, or None.
    fields, axes: options and axes of the grid of its own, under `config.<id>`.
    comparable: whether it competes with the others; not, where it has data that they do not have.
    limit: of a method that the joint model comes to, as its adjacent penalty grows "weak" or "strong".
    control: whether every run without `config.methods` fits it beside the published row.
    behind: the method whose column it follows in the published layout, or, of one that is not published, in every table,
        where that is not the order of the records.
    """

    id: str
    recipe: Recipe
    column: str
    legend: str
    family: str
    summary: str = ""
    aliases: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    published: bool = False
    naming: Callable[["Method", Options, int], str] | None = None
    refuses: Callable[["Method", Options], Reason] | None = None
    lacks: Callable[[Setting], Reason] | None = None
    remark: Callable[[Setting], Reason] | None = None
    fields: tuple[Field, ...] = ()
    axes: tuple[Axis, ...] = ()
    comparable: bool = True
    limit: Literal["weak", "strong"] | None = None
    control: bool = False
    behind: str = ""

    def effective(self, options: Options) -> Options:
        """The options as they act on this method."""
        return effective(options, self.options, self.fixed)

    def build(self, setting: Setting) -> Node:
        """The method's nodes in a setting, whose options are those that the user set."""
        return self.recipe(self.own(setting))

    def own(self, setting: Setting) -> Setting:
        """The setting as this method sees it."""
        fields = {
            each.name: setting.fields.get(f"{self.id}.{each.name}", each.default) for each in self.fields
        }
        axes = {each.name: setting.fields.get(f"{self.id}.{each.name}", each.values) for each in self.axes}
        return replace(setting, options=self.effective(setting.options), fields=fields, axes=axes)

    def derived_id(self, setting: Setting) -> str:
        """The id with what options and own fields change; the id itself where they change nothing."""
        options = self.effective(setting.options)
        name = (self.naming or plain_name)(self, options, setting.num_blocks)
        own = self.own(setting)
        pairs = [(each.name, own.fields[each.name], each.default) for each in self.fields]
        pairs += [(each.name, own.axes[each.name], each.values) for each in self.axes]
        return name + "".join(f"_{n}_{_short(v)}" for n, v, default in pairs if v != default)


def _short(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def plain_name(record: Method, options: Options, num_blocks: int) -> str:
    """The id, every option that is set and not fixed by it, and the start from pretrained weights."""
    settings = {
        name: v for name, v in changed(options).items() if name not in record.fixed and name != "joint"
    }
    name = record.id + "".join(f"_{option}_{_short(value)}" for option, value in settings.items())
    return name + ("_start_with_imagenet" if options.pretrained else "")


METHODS: Registry[Method] = Registry("method")


def method(
    id: str,
    *,
    column: str = "",
    legend: str = "",
    family: str = "other",
    options: Iterable[str] = (),
    fixed: Mapping[str, Any] | None = None,
    **record: Any,
) -> Callable[[Recipe], Recipe]:
    """Registers the recipe below it as a method; see `Method` for the fields.

    Raises ValueError when the id or an alias is taken.
    """

    def register(recipe: Recipe) -> Recipe:
        summary = record.pop("summary", "") or (recipe.__doc__ or "").strip().split("\n")[0]
        made = Method(
            id, recipe, column or id, legend or column or id, family,
            summary=summary, options=frozenset(options), fixed=dict(fixed or {}), **record,
        )  # fmt: skip
        METHODS.add(id, made, made.aliases, defined_in(recipe))
        return recipe

    return register


def published_row() -> tuple[str, ...]:
    """The ids of the published table's row, in its order."""
    return tuple(name for name in METHODS if METHODS.get(name).published)


def default_row() -> tuple[str, ...]:
    """The ids that a run fits where none is named: the published row, and the controls that belong beside it."""
    return in_table_order(
        name for name in METHODS if METHODS.get(name).published or METHODS.get(name).control
    )


def in_table_order(names: Iterable[str]) -> tuple[str, ...]:
    """Ids of records in the order of their columns: that of the records, unpublished ones where they belong."""
    known = list(METHODS)

    def place(name: str) -> tuple[int, int]:
        record = METHODS.get(name)
        moved = record.behind and not record.published
        return known.index(record.behind if moved else name), known.index(name)

    return tuple(sorted(names, key=place))
