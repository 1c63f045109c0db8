"""The specification of a method, which contains everything that the program knows about it.

    @method("erm_final", column="Final", legend="ERM final", family="reference", published=True)
    def erm_final(setting: Setting) -> Node: ...

The published row, aliases, derived ids, the options that affect a method and those that its name fixes, tables, legends
and documentation all come from these specifications (records). A user's own file adds methods in the same way.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from seqfinal_jax.methods.nodes import Choice, Node, Stage, Transform
from seqfinal_jax.methods.options import Options, changed, effective
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.records.code_identity import defined_in
from seqfinal_jax.records.kinds import Kind
from seqfinal_jax.records.plugins import defined_at
from seqfinal_jax.records.registry import Registry, resolved

Recipe = Callable[[Setting], Node]
Reason = str | None

REFERENCE, ALL, ADAPT, FOLLOW, JOINT = (
    "reference", "all data", "history, then adapt", "sequential", "joint",
)  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """A hyper-parameter that a method adds to the grid: its name, the values tried, its meaning, its allowed values."""

    name: str
    values: tuple[float, ...]
    meaning: str = ""
    kind: Kind | None = None


@dataclass(frozen=True)
class Field:
    """An option that a method declares for itself: `config.<method id>.<name>`.

    kind: its allowed values; by default anything of the type of `default`.
    """

    name: str
    default: Any
    meaning: str = ""
    kind: Kind | None = None


@dataclass(frozen=True)
class Method:
    """One method.

    id: its name in `config.methods`. recipe: a function that builds its nodes. column, legend: its names in tables and in
        figures. family: the group of methods with which it is shown.
    summary: one sentence for lists and documentation.
    aliases: other names that are accepted, such as the published directory names.
    options: the options (fields of `Options`) that affect it. fixed: options that its name fixes, whatever the user sets.
    published: whether it belongs to the row of the published table.
    naming: a function that gives the id with changed options; default: the id followed by every changed option.
    refuses: a function that says why the method cannot be built with some options, or None.
    lacks: a function that says why a network cannot use the method, or None.
    remark: a function that gives a message for the user before the training, or None.
    fields, axes: its own options and its own axes of the grid, under `config.<id>`.
    comparable: False for a method with data that the others do not have; it does not compete with them.
    limit: "weak" or "strong" for a method that the joint model approaches as its adjacent penalty becomes weak or strong.
    control: whether every run without `config.methods` fits it in addition to the published row.
    behind: the method after whose column it is placed in the published layout or, if it is not published, in every
        table; default: the order of registration.
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

    def __post_init__(self) -> None:
        """Raises TypeError for own fields and axes that are no `Field` and `Axis`."""
        for name, kind in (("fields", Field), ("axes", Axis)):
            found = getattr(self, name)
            if not isinstance(found, (tuple, list)) or not all(isinstance(each, kind) for each in found):
                raise TypeError(
                    f"method {self.id!r}: {name}: expected a tuple of {kind.__name__}(...), found {found!r}"
                )

    def effective(self, options: Options) -> Options:
        """The options that this method uses: those set by the user, its defaults and those that its name fixes."""
        return effective(options, self.options, self.fixed)

    def build(self, setting: Setting) -> Node:
        """The method's nodes in a setting that contains the options as the user set them.

        Raises ValueError for a recipe that returns something else, such as nothing.
        """
        node = self.recipe(self.own(setting))
        if not isinstance(node, (Stage, Choice, Transform)):
            raise ValueError(
                f"{defined_at(self.recipe)}the recipe of method {self.id!r} returned {node!r}; expected a Stage, a "
                f"Choice or a Transform"
            )
        return node

    def own(self, setting: Setting) -> Setting:
        """The setting with the options, fields and axes of this method."""
        fields = {
            each.name: setting.fields.get(f"{self.id}.{each.name}", each.default) for each in self.fields
        }
        axes = {each.name: setting.fields.get(f"{self.id}.{each.name}", each.values) for each in self.axes}
        return replace(setting, options=self.effective(setting.options), fields=fields, axes=axes)

    def derived_id(self, setting: Setting) -> str:
        """The id followed by the changed options and own fields; the id itself where none is changed."""
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
    """The id, followed by every option that is set and not fixed by it, and by the start from pretrained weights."""
    settings = {
        name: v for name, v in changed(options).items() if name not in record.fixed and name != "joint"
    }
    name = record.id + "".join(f"_{option}_{_short(value)}" for option, value in settings.items())
    return name + (f"_start_with_{options.pretrained}" if options.pretrained else "")


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


def other_names(id: str) -> tuple[str, ...]:
    """The names of a method besides its id: its aliases, its column and its legend."""
    record = METHODS.get(id)
    return (*record.aliases, record.column, record.legend)


def method_id(name: str) -> str:
    """The id of the method that a name stands for: an id, alias, column or legend, in upper or lower case.

    Raises ValueError for an unknown name; the message suggests the nearest one.
    """
    return resolved("method", name, {id: other_names(id) for id in METHODS})


def published_row() -> tuple[str, ...]:
    """The ids of the published table's row, in its order."""
    return tuple(name for name in METHODS if METHODS.get(name).published)


def default_row() -> tuple[str, ...]:
    """The ids of the methods that a run without `config.methods` fits: the published row and the controls."""
    return in_table_order(
        name for name in METHODS if METHODS.get(name).published or METHODS.get(name).control
    )


def in_table_order(names: Iterable[str]) -> tuple[str, ...]:
    """Ids in the order of their columns: the order of registration, unpublished methods with `behind` after that one."""
    known = list(METHODS)

    def place(name: str) -> tuple[int, int]:
        record = METHODS.get(name)
        moved = record.behind and not record.published
        return known.index(record.behind if moved else name), known.index(name)

    return tuple(sorted(names, key=place))
