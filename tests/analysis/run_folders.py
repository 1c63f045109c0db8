"""A synthetic run folder: results that look like a run's, made from numbers worked out beforehand."""

import json
import math
from pathlib import Path

METHODS = ("erm_final", "oracle", "erm_all", "erm_all_weighted", "erm_fine_tune")
RATES = (0.001, 0.003)
STAGES = {
    "erm_final": (("final", "final", "f1"),),
    "oracle": (("final", "final", "f2"),),
    "erm_all": (("all", "final", "f3"),),
    "erm_all_weighted": (("all", "final", "f4"),),
    "erm_fine_tune": (("history", "start", "f5"), ("tune", "final", "f6")),
}


def make_run_folder(
    workdir: Path,
    accuracies: dict[tuple[str, str, int], float | None],
    methods: tuple[str, ...] = METHODS,
    seeds: tuple[int, ...] = (0, 1, 2),
    epochs: int = 6,
    sequence: str = "digits_rcl",
) -> Path:
    """Cells of given (method, architecture, seed) with their test accuracy, None for a failed one."""
    architectures = tuple(dict.fromkeys(key[1] for key in accuracies))
    config = {
        "name": sequence, "methods": methods, "architectures": architectures, "seeds": seeds,
        "protocol": {"input_scaling": "standardised", "subpop_sizes": "as_asked"}, "data_seed": -1,
    }  # fmt: skip
    record = {"dataset": "digits", "origin": "embedded", "official": True, "content_sha256": "ab" * 32}
    _write_json(workdir / "config.json", config)
    _write_json(workdir / "environment.json", {"jax": "0.0", "backend": "cpu", "data": record})
    for (method, architecture, seed), accuracy in accuracies.items():
        folder = workdir / "cells" / method / architecture / f"seed{seed}"
        if accuracy is None:
            folder.mkdir(parents=True)
            (folder / "error.txt").write_text("Traceback ...\nMemoryError: <no> room\n")
        else:
            make_cell(folder, method, architecture, seed, accuracy, epochs, sequence)
    return workdir


def make_cell(
    folder: Path,
    method: str,
    architecture: str,
    seed: int,
    accuracy: float,
    epochs: int = 6,
    sequence: str = "digits_rcl",
    **length: float,
) -> None:
    """One done cell, whose second grid point was chosen in every stage.

    length: `epochs_allowed`, `updates` and `late_gain` of every stage, which results of earlier versions lack.
    """
    hyper = {"learning_rate": RATES[1], "weight_decay": 0.0001, "dropout": 0.5}
    common = {"hyper": hyper, "best_epoch": epochs - 2, "stop_epoch": epochs}
    stages = [
        {"stage": stage, "role": role, "step": 3, "fingerprint": f"{mark}-{architecture}", **common, **length,
         "valid_accuracy": accuracy}
        for stage, role, mark in STAGES.get(method, (("final", "final", method),))
    ]  # fmt: skip
    _write_json(folder / "result.json", {
        "schema": 2, "sequence": sequence, "protocol": "corrected", "method": method,
        "architecture": architecture, "seed": seed, "data_seed": seed, "test_accuracy": accuracy,
        "test_loss": 1.25, "valid_accuracy": accuracy, "valid_loss": 1.125, "n_test": 500, "n_valid": 50,
        "selection": "validation accuracy of the final step", **common, "stages": stages,
        **{name: value for name, value in length.items() if name == "late_gain"},
    })  # fmt: skip
    names = [(stage["stage"], stage["role"]) for stage in stages]
    (folder / "grid.csv").write_text(_grid(names, accuracy, epochs))
    (folder / "history.csv").write_text(_history(names, accuracy, seed, epochs))


def write_table(cell: Path, name: str, columns: str, rows: list[tuple]) -> None:
    """A CSV file of a cell."""
    cell.joinpath(name).write_text("\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n")


def write_change(cell: Path, distances: dict[str, tuple[float, ...]]) -> None:
    """layer_change.csv: by layer, the distances of steps 1, 2, ..."""
    rows = [(layer, step, each) for layer, many in distances.items() for step, each in enumerate(many, 1)]
    write_table(cell, "layer_change.csv", "layer,step,distance", rows)


def write_joint_grid(
    cell: Path, accuracies: list[tuple[float, float]], field: str = "adjacent", failed: int = -1
) -> None:
    """grid.csv with members (value of a field, best accuracy); the first of the highest wins, one may have failed."""
    sound = [place for place in range(len(accuracies)) if place != failed]
    chosen = max(sound, key=lambda place: (accuracies[place][1], -place))
    rows = [
        ("joint", "final", place, value, accuracy, 4, 6, place == failed, place == chosen)
        for place, (value, accuracy) in enumerate(accuracies)
    ]
    columns = f"stage,role,member,{field},best_accuracy,best_epoch,stop_epoch,failed,chosen"
    write_table(cell, "grid.csv", columns, rows)


def _grid(stages: list[tuple[str, str]], accuracy: float, epochs: int) -> str:
    lines = [
        "stage,role,member,learning_rate,weight_decay,dropout,best_accuracy,best_epoch,stop_epoch,failed,chosen"
    ]
    for stage, role in stages:
        for member, rate in enumerate(RATES):
            best = f"{accuracy},{epochs - 2},{epochs},False,{member == 1}"
            lines.append(f"{stage},{role},{member},{rate},0.0001,0.5,{best}")
    return "\n".join(lines) + "\n"


def _history(stages: list[tuple[str, str]], accuracy: float, seed: int, epochs: int) -> str:
    lines = ["stage,member,epoch,train_loss,train_accuracy,valid_loss,valid_accuracy"]
    for stage, _ in stages:
        for member in range(len(RATES)):
            for epoch in range(epochs + 1):
                rise = 1 - math.exp(-(epoch + 0.3 * seed) / (2 + member))
                train = f"{2 - rise},{min(1.0, accuracy * rise + 0.1)}" if epoch else ","
                lines.append(f"{stage},{member},{epoch},{train},{2.1 - rise},{accuracy * rise}")
    return "\n".join(lines) + "\n"


def _write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
