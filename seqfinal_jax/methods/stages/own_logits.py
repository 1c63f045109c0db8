"""How a stage's logits are made: by its network alone, or in a way of its own that a user's objective defines."""

from collections.abc import Mapping
from typing import Any

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.nodes import Model, Stage, StepForm, described
from seqfinal_jax.methods.stages.fingerprint import describe_node
from seqfinal_jax.methods.stages.problem import stage_objective
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import Network
from seqfinal_jax.records.code_identity import is_ours, objects_named, qualified_name
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.objectives.risk import InputScaling, Objective

HOOKS = ("logits", "inputs", "training_logits")  # of an objective, by which it makes logits from images


def own_logits(stage: Model, network: Network, training: Training) -> Objective | None:
    """A stage's objective where it makes logits in its own way; None where the network's outputs are the logits."""
    objective = stage_objective(stage, network, training)
    plain = all(is_ours(getattr(type(objective), name)) for name in HOOKS)
    return None if plain and objective.scaling == training.scaling else objective


def logits_record(stage: Model, network: Network, training: Training) -> dict[str, Any]:
    """What has to be stored of how a node's logits are made, besides the description of the node itself.

    A transformation is described by the stage whose way it shares. The class of an objective inside a function or in a
    session cannot be found again; where it makes logits by the network alone, this is noted.
    """
    if own_logits(stage, network, training):
        return {} if isinstance(stage, Stage) else {"like": describe_node(stage.like)}
    name = qualified_name(type(stage.objective))
    return {"logits": "network"} if "<locals>" in name or name.startswith("__main__.") else {}


def stored_logits(
    meta: Mapping[str, Any],
    form: StepForm | None,
    network: Network,
    scaling: InputScaling,
    any_version: bool = False,
) -> Objective | None:
    """The objective of a stored stage where it makes logits in its own way, from the stage's meta.json.

    any_version: whether a class of that name will do although its code has changed since the training.

    Raises:
        ValueError: the objective is a user's own, and its code is not loaded.
    """
    record = trained_like(meta)
    plain = "objective" not in record or meta.get("logits") == "network"
    if plain or is_ours(record["objective"]["class"][0]):
        return None
    stage = Stage(
        record["name"], record["role"], tuple(record["train"]), tuple(record["valid"]), Grid(),
        objective=restored(record["objective"], any_version), form=form,
    )  # fmt: skip
    return own_logits(stage, network, Training(StopRule(), 1, scaling))


def trained_like(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of a stored stage, or of the one whose way of making logits a transformation shares."""
    return meta.get("like", meta["stage"])


def restored(description: Any, any_version: bool = False) -> Any:
    """The value of a node that `nodes.described` has written down; lists become tuples.

    Raises ValueError for a class or function whose code is not loaded, or has changed.
    """
    if isinstance(description, Mapping) and "class" in description:
        kind = _loaded(description["class"], any_version)
        own = {name: value for name, value in description.items() if name not in ("class", "version")}
        made = kind(**{name: restored(value, any_version) for name, value in own.items()})
        if not any_version and described(made) != description:
            raise ValueError(f"{description['class'][0]} has other fields than it had in the run")
        return made
    if isinstance(description, Mapping):
        return {name: restored(value, any_version) for name, value in description.items()}
    if not isinstance(description, list):
        return description
    if description and isinstance(description[0], str) and (found := _candidates(description, any_version)):
        return found[0]
    return tuple(restored(part, any_version) for part in description)


def _candidates(named: list[Any], any_version: bool) -> list[Any]:
    """The loaded functions and classes that are described so: name, digest of the code, values that they hold."""
    if len(named) < 2 or not isinstance(named[1], str):
        return []
    return [each for each in objects_named(named[0]) if any_version or described(each) == named]


def _loaded(named: list[Any], any_version: bool) -> Any:
    found = _candidates(named, any_version)
    if not found:
        raise ValueError(
            f"its logits are made by {named[0]} (code {named[1] or 'of a library'}), which is not loaded; name the file "
            f"that defines it with plugins=(FILE,) or --plugins=FILE"
        )
    return found[0]
