"""A training step of one member: against the floor of this machine and against PyTorch, interleaved; medians.

python -m benchmarks.step --architectures convnet-1,convnet-4
python -m benchmarks.step --architectures all
python -m benchmarks.step --precision bfloat16

*torch* is the best of PyTorch's forms that run here (eager, channels_last, torch.compile), each measured in the same
rounds. *compile s* is tracing and compiling our training program of one member without a cache; *MiB* its arguments
and working space (images included). Other work on the machine moves every figure but the ratio to PyTorch.
With `--precision bfloat16` PyTorch's forms in autocast are among its best, and our own step in float32 is measured too;
the floor, which is one of float32, is left out. With `--members N` our program holds N members at once (`vmap`, for a
GPU), and *step ms* is a member's share of a step.
"""

import argparse
import math
import os
import statistics

import jax
import torch

from benchmarks import torch_peer
from benchmarks.engine import (
    BATCH,
    SCALING,
    compiled_epoch,
    images,
    memory_mib,
    problem_of,
    some_members,
    step_clock,
)
from benchmarks.floor import Machine, measure_machine, step_work
from benchmarks.torch_networks import ARCHITECTURES
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.models.parts.precision import units

FIRST, LAST = ("network", "step ms", "torch ms", "its form", "ratio"), ("compile s", "MiB")
BETWEEN = {"highest": ("floor ms", "step / floor"), "bfloat16": ("float32 ms", "step / float32")}


def torch_parts(pixels, labels, train: int) -> tuple[tuple, tuple]:
    """The training and the validation set as PyTorch's tensors."""
    scaled = ((pixels / 255 - SCALING.mean) / SCALING.std).astype("float32")
    x = torch.from_numpy(scaled).permute(0, 3, 1, 2).contiguous().to(torch_peer.DEVICE)
    y = torch.from_numpy(labels.astype("int64")).to(torch_peer.DEVICE)
    return (x[:train], y[:train]), (x[train:], y[train:])


def peer(
    architecture: str, point: dict[str, float], form: torch_peer.StepForm = "eager"
) -> torch_peer.Trainer:
    """PyTorch's trainer of a grid point."""
    return torch_peer.Trainer(
        architecture, 10, point["learning_rate"], point["weight_decay"], point["dropout"], form
    )


def compare(architecture: str, options: argparse.Namespace, machine: Machine) -> list[str]:
    """The cells of a network's line; one repeat measures ours and every form of theirs in turn."""
    steps, together, low = options.steps, options.members, options.precision == "bfloat16"
    pixels, labels = images(steps * BATCH, BATCH)
    full, problem = (
        problem_of(architecture, pixels, labels, steps * BATCH, precision)
        for precision in ("highest", options.precision)
    )
    specs, settings = some_members(problem, together)
    compiled, compile_seconds = compiled_epoch(problem, specs, settings)
    train, _ = torch_parts(pixels, labels, steps * BATCH)
    point = Grid().points()[0]
    forms = torch_peer.working_forms(
        lambda form: peer(architecture, point, form),
        train[0][:BATCH],
        train[1][:BATCH],
        () if options.alone else torch_peer.FORMS if low else torch_peer.IN_FLOAT32,
    )
    own = {"ours": problem} | ({"float32": full} if low else {})
    clocks = {name: step_clock(each, steps, together) for name, each in own.items()} | {
        form: lambda trainer=trainer: torch_peer.step_seconds(trainer, train, BATCH, steps)
        for form, trainer in forms.items()
    }
    for clock in 2 * list(clocks.values()):  # the first second of a process is slower than the rest
        clock()
    rounds = [{name: clock() for name, clock in clocks.items()} for _ in range(options.repeats)]
    found = {name: statistics.median(each[name] for each in rounds) for name in clocks}
    ours, in_float32 = found.pop("ours"), found.pop("float32", math.nan)
    best = min(found, key=lambda form: found[form], default="-")
    torch_seconds = found.get(best, math.nan)
    floor = machine.seconds(step_work(problem))
    last = (1e3 * in_float32, ours / in_float32) if low else (1e3 * floor, ours / floor)
    figures = (1e3 * ours, 1e3 * torch_seconds, best, ours / torch_seconds, *last)
    cells = [each if isinstance(each, str) else rounded(each) for each in figures]
    return [architecture, *cells, f"{compile_seconds:.1f}", f"{memory_mib(compiled):.0f}"]


def rounded(figure: float) -> str:
    """As a cell of the table: three digits or one decimal, a dash for what was not measured."""
    return "-" if math.isnan(figure) else f"{figure:.2f}" if figure < 10 else f"{figure:.1f}"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--architectures", default="convnet-1,convnet-4", help="names joined by commas, or all"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=32, help="steps per repeat, as many as an epoch has")
    parser.add_argument("--members", type=int, default=1, help="members in our program")
    parser.add_argument("--precision", choices=list(BETWEEN), default="highest")
    parser.add_argument(
        "--alone", action="store_true", help="leave PyTorch out, which takes minutes to compile"
    )
    options = parser.parse_args()
    all_of_them = options.architectures == "all"
    options.architectures = list(ARCHITECTURES) if all_of_them else options.architectures.split(",")
    unknown = [name for name in options.architectures if name not in ARCHITECTURES]
    if unknown:
        parser.error(f"unknown architecture {unknown[0]!r}; there are {', '.join(ARCHITECTURES)}")
    return options


def main() -> None:
    options, machine = parse_options(), measure_machine()
    versions = f"jax {jax.__version__}, torch {torch.__version__}"
    own = f"ours in {options.precision}" + (
        f" ({', '.join(units())})" if options.precision == "bfloat16" else ""
    )
    print(f"{versions}, {jax.default_backend()}, {os.cpu_count()} cores, medians of {options.repeats}, {own}")
    print(f"float32: {machine.rate / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.1f} GB/s")
    header = (*FIRST, *BETWEEN[options.precision], *LAST)
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|", flush=True)
    for architecture in options.architectures:
        cells = compare(architecture, options, machine)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
