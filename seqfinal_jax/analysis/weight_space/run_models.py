"""The models of a run folder's methods, in the order of time: what pictures of weight space are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from seqfinal_jax.analysis.run_code import load_run_model
from seqfinal_jax.analysis.tables.labels import in_order, listed
from seqfinal_jax.analysis.weight_space.choice import Choice
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models import AnyNetwork
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_result
from seqfinal_jax.training.objectives.risk import Objective

START, PROBE = "start", "probe"


@dataclass(frozen=True, eq=False)
class MethodPath:
    """The models that a method passed on its way: names such as "history" or "step 2", and their parameters."""

    method: str
    names: tuple[str, ...]
    params: tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False)
class RunModels:
    """All that a picture of weight space needs of one architecture and seed.

    oracle, history, final: parameters of the three models that span it. left_out: methods whose models do not live in its
    weight space, with the reason.
    """

    architecture: str
    seed: int
    groups: tuple[str, ...]
    oracle: dict[str, Any]
    history: dict[str, Any]
    final: dict[str, Any]
    paths: tuple[MethodPath, ...]
    left_out: dict[str, str]


def read_models(choice: Choice) -> RunModels:
    """The models of run folders, which may hold different methods of one sequence.

    Where no architecture or seed is chosen, the first that has all three models that span the picture is taken. Raises
    RunFolderError where there is none, naming what lacks.
    """
    cells, lacking = choice.cells(), {}
    for place in dict.fromkeys((cell.architecture, cell.seed) for cell in cells):
        own = {cell.method: cell for cell in cells if (cell.architecture, cell.seed) == place}
        spanning = _spanning(own)
        missing = [name for name, cell in spanning.items() if cell is None]
        if not missing:
            return _read(*place, choice.of(cells, place), spanning)
        lacking[place] = missing
    said = "; ".join(f"{a}, seed {s} lacks {listed(names)}" for (a, s), names in lacking.items())
    raise RunFolderError(
        f"no architecture and seed has the three models that span the picture ({said}); run the missing methods, or "
        f"name further run folders that hold them"
    )


def _spanning(own: dict[str, CellFolder]) -> dict[str, CellFolder | None]:
    """The cells of the oracle, of the final step alone, and of a method that starts from the pooled history."""
    ordered = in_order(own)
    known = [method for method in ordered if method in METHODS]
    references = [m for m in known if METHODS.get(m).family == "reference"]
    oracle = next((own[m] for m in references if not METHODS.get(m).comparable), None)
    final = next((own[m] for m in references if METHODS.get(m).comparable), None)
    starts = [own[m] for m in known if read_result(own[m])["stages"][0]["role"] == START]
    return {
        "oracle": oracle,
        "erm_final": final,
        "a method that starts from history": next(iter(starts), None),
    }


def _read(
    architecture: str, seed: int, cells: Sequence[CellFolder], spanning: dict[str, CellFolder]
) -> RunModels:
    paths, left_out = [], {}
    for cell in cells:
        try:
            paths.append(MethodPath(cell.method, *_passed(cell)))
        except ValueError as error:
            left_out[cell.method] = str(error)
    oracle, final, start = (_passed(spanning[name]) for name in spanning)
    groups = tuple(load_run_model(spanning["oracle"].path).network.group_names)
    return RunModels(
        architecture, seed, groups, oracle[1][-1], start[1][0], final[1][-1], tuple(paths), left_out
    )


def _passed(cell: CellFolder) -> tuple[tuple[str, ...], tuple[dict[str, Any], ...]]:
    """Names and parameters of the models on a method's way; raises ValueError for models that are not plain networks."""
    models = passed_models(cell)
    params = tuple(jax.tree.map(np.asarray, _plain(model)["params"]) for model in models)
    return tuple(model.name for model in models), params


def _plain(model: "Model") -> dict[str, Any]:
    """A model's variables as those of a plain network; raises ValueError where side modules add to a layer."""
    return model.network.plain(model.variables, model.step)


def _name(stage: dict[str, Any]) -> str:
    return "history" if stage["role"] == START else f"step {stage['step']}"


def last_update(cell: CellFolder) -> tuple[AnyNetwork, dict[str, Any], dict[str, Any]]:
    """The network, and the variables before and after the last update of a method.

    Of side modules, adapters and joint models both are those of the last model, whose time steps are the two ends.
    Raises ValueError for a method without an update, and for one whose logits are not the network's outputs.
    """
    models = passed_models(cell)[-2:]
    refuse_own_logits(cell, models)
    if len(models) < 2:
        raise ValueError(f"{cell.method} has no update whose start could be looked at")
    start, end = models
    per_step = end.network.num_steps > 1
    return end.network, end.variables if per_step else _plain(start), end.variables


def refuse_own_logits(cell: CellFolder, models: "Sequence[Model]") -> None:
    """Raises ValueError where an objective of a user's makes logits in its own way, which the network alone does not."""
    if own := next((model.objective for model in models if model.objective), None):
        raise ValueError(
            f"{cell.method}: {type(own).__name__} makes logits in its own way, and this command looks at the network "
            f"alone; leave it out with --methods"
        )


@dataclass(frozen=True, eq=False)
class Model:
    """One model on a method's way: its name, such as "step 2", its network, and the time step that it answers for.

    objective: that of a user's method which makes logits in its own way, as in `StoredModel`.
    """

    name: str
    network: AnyNetwork
    variables: dict[str, Any]
    step: int = 0
    objective: Objective | None = None


def passed_models(cell: CellFolder) -> list[Model]:
    """The models on a method's way, in order; those of side modules and joint models once for each time step."""
    stages = [stage for stage in read_result(cell)["stages"] if stage["role"] != PROBE]
    found = []
    for stage in stages:
        model = load_run_model(cell.stage(stage["fingerprint"]))
        count = model.network.num_steps
        if count > 1 and len(stages) == 1:
            steps = range(count)
            found += [Model(f"step {t}", model.network, model.variables, t, model.objective) for t in steps]
        else:
            last = count - 1 if count > 1 else model.trained_on
            found.append(Model(_name(stage), model.network, model.variables, last, model.objective))
    return found
