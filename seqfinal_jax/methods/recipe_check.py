"""What a recipe asked for that cannot be, or that does nothing: each is one line that names the recipe's place."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from seqfinal_jax.methods.method import Method
from seqfinal_jax.methods.nodes import Choice, Node, Transform, all_nodes
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.records.plugins import defined_at


def check_steps(record: Method, node: Node, num_steps: int) -> None:
    """Raises ValueError where a node uses a time step that the sequence does not have, or none to train on."""
    for each in all_nodes(node):
        if isinstance(each, Choice):
            continue
        for what, steps in _used(each):
            wrong = [step for step in steps if step not in range(num_steps)]
            if wrong or not steps:
                raise ValueError(
                    f"{defined_at(record.recipe)}method {record.id!r}, stage {each.name!r}: {what} = {steps!r}; expected "
                    f"time steps of this sequence, 0 to {num_steps - 1}"
                )


def _used(node: Node) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The time steps that a node names."""
    yield "valid", node.valid
    if not isinstance(node, Transform):
        yield "train", node.train
    elif node.statistics:
        yield "statistics", node.statistics


def check_axes(record: Method, built: Mapping[str, Node], settings: Mapping[str, Setting]) -> None:
    """Raises ValueError for an axis that changes the nodes of no network: no stage's grid holds it.

    The recipe is asked again with other values of the axis; an error then is an answer too.
    """
    for axis in record.axes:
        if built and not any(_acts(record, axis.name, settings[name], node) for name, node in built.items()):
            raise ValueError(
                f"{defined_at(record.recipe)}method {record.id!r} declares the axis {axis.name!r}, and no stage has it "
                f"in its grid; give the stage grid=setting.own_grid, or remove the axis"
            )


def _acts(record: Method, axis: str, setting: Setting, node: Node) -> bool:
    values = tuple(record.own(setting).axes[axis])
    fewer = values[:1] if len(values) > 1 else values * 2
    other = replace(setting, fields={**setting.fields, f"{record.id}.{axis}": fewer})
    try:
        return record.build(other).key != node.key
    except Exception:
        return True
