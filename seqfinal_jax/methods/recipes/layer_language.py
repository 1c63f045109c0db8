"""The language of `fine_tune_layers`: which layers are tuned at each target step, stage by stage.

    spec   := step (":" step)*            one entry per target step, or one for all (sequential methods only)
    step   := "search" | "surgical_rgn" | "surgical_snr" | shortcut | stages
    stages := set ("-" set)*              trained one after the other
    set    := "all" | layer ("," layer)*  trained together; conv1, layer1, ..., fc

Shortcuts are `linear_probe_fine_tune`, `gradual_unfreeze_first_to_last` and `gradual_unfreeze_last_to_first`
(single-model spec, section 4).
"""

from dataclasses import dataclass
from typing import Literal

from seqfinal_jax.records.registry import nearest

Layers = tuple[str, ...]
Kind = Literal["stages", "search", "surgical_rgn", "surgical_snr"]
AUTOMATIC: tuple[Kind, ...] = ("search", "surgical_rgn", "surgical_snr")

# How a shortcut's stages are called in the name of a method.
SHORTCUT_NAMES = {
    "linear_probe_fine_tune": "linear_probe_then_fine_tune",
    "gradual_unfreeze_first_to_last": "gradual_unfreeze_first_to_last_fine_tune",
    "gradual_unfreeze_last_to_first": "gradual_unfreeze_last_to_first_fine_tune",
}


@dataclass(frozen=True)
class StepLayers:
    """The layers that are tuned at one target step.

    kind: "stages", or the rule that finds the layers: "search" tries every subset, "surgical_..." nested sets of the
        best ranked groups.
    stages: the groups of each stage, in group order; empty unless the kind is "stages".
    """

    kind: Kind
    stages: tuple[Layers, ...] = ()


def layer_groups(num_blocks: int) -> Layers:
    """conv1, layer1, ..., layer<num_blocks>, fc."""
    return ("conv1", *(f"layer{block + 1}" for block in range(num_blocks)), "fc")


def shortcuts(groups: Layers) -> dict[str, tuple[Layers, ...]]:
    """The stages of every shortcut; gradual ones go from one group to all, adding one group per stage."""
    counts = range(1, len(groups) + 1)
    return {
        "linear_probe_fine_tune": (("fc",), groups),
        "gradual_unfreeze_first_to_last": tuple(groups[:count] for count in counts),
        "gradual_unfreeze_last_to_first": tuple(groups[-count:] for count in counts),
    }


def layer_subsets(group_names: Layers) -> tuple[Layers, ...]:
    """All 2^L - 1 non-empty subsets in the order in which ties are broken (single-model spec, section 4).

    With the first group a and the subsets R of the other groups: {a}, then a joined to each of R, then R.
    """
    if not group_names:
        return ()
    first, others = group_names[0], layer_subsets(group_names[1:])
    return ((first,), *((first, *subset) for subset in others), *others)


def parse_layers(
    text: str, num_blocks: int, num_target_steps: int, sequential: bool
) -> tuple[StepLayers, ...]:
    """One entry per target step for sequential methods, exactly one for the others.

    Raises ValueError, which quotes the faulty part with its time step (counted from 1) and stage, and suggests the
    nearest valid layer.
    """
    groups, parts = layer_groups(num_blocks), text.split(":")
    where = f"fine_tune_layers={text!r}"
    _check_entries(parts, num_target_steps, sequential, where)
    if len(parts) > 1:
        return tuple(
            _parse_step(part, groups, f"{where}, time step {step}") for step, part in enumerate(parts, 1)
        )
    return (_parse_step(text, groups, where),) * (num_target_steps if sequential else 1)


def _check_entries(parts: list[str], num_target_steps: int, sequential: bool, where: str) -> None:
    if not sequential and len(parts) > 1:
        raise ValueError(
            f'{where}: ":" separates time steps, and only sequential methods have several; '
            f'stages of one step are separated by "-"'
        )
    if len(parts) not in (1, num_target_steps):
        raise ValueError(
            f"{where} has {len(parts)} entries; the sequence has {num_target_steps} target steps, so give "
            f"{num_target_steps} entries, or one for all"
        )


def _parse_step(text: str, groups: Layers, where: str) -> StepLayers:
    if text in AUTOMATIC:
        return StepLayers(text)
    if text in SHORTCUT_NAMES:
        return StepLayers("stages", shortcuts(groups)[text])
    sets = text.split("-")
    if len(sets) == 1:
        return StepLayers("stages", (_parse_set(text, groups, where),))
    return StepLayers(
        "stages",
        tuple(_parse_set(part, groups, f"{where}, stage {stage}") for stage, part in enumerate(sets, 1)),
    )


def _parse_set(text: str, groups: Layers, where: str) -> Layers:
    if text == "all":
        return groups
    names = text.split(",")
    for place, name in enumerate(names):
        _check_name(name, groups, where)
        if name in names[:place]:
            raise ValueError(f"{where}: layer {name!r} is named twice in {text!r}")
    return tuple(group for group in groups if group in names)


def _check_name(name: str, groups: Layers, where: str) -> None:
    words = ("all", *AUTOMATIC, *SHORTCUT_NAMES)
    if name in groups:
        return
    if not name:
        raise ValueError(f"{where}: a layer's name is missing; known: {', '.join(groups)}")
    if name in words:
        alone = "set of layers" if name == "all" else "time step"
        raise ValueError(f"{where}: {name!r} must stand alone in its {alone}")
    raise ValueError(f"{where}: unknown layer {name!r}; {nearest(name, [*groups, *words])}")


def layers_name(steps: tuple[StepLayers, ...], num_blocks: int) -> str:
    """The readable part of a method's name that follows from its layers, for example "fine_tune_fc".

    The start's name goes before it: "erm_" + "linear_probe_then_fine_tune" (single-model spec, section 6).
    """
    groups = layer_groups(num_blocks)
    if len(set(steps)) > 1:
        return "fine_tune_" + ":".join(_step_text(step, groups) for step in steps)
    stages = steps[0].stages
    if stages == (groups,):
        return "fine_tune"
    for shortcut, meaning in shortcuts(groups).items():
        if stages == meaning:
            return SHORTCUT_NAMES[shortcut]
    return f"fine_tune_{_step_text(steps[0], groups)}"


def _step_text(step: StepLayers, groups: Layers) -> str:
    """The language's text of a step, without shortcuts."""
    if step.kind != "stages":
        return step.kind
    return "-".join("all" if stage == groups else ",".join(stage) for stage in step.stages)
