"""An 8-point grid of 3 epochs through the shipped engine, against PyTorch in two forms; interleaved, medians.

python -m benchmarks.grid
python -m benchmarks.grid --architectures convnet-1 --train 1600 --valid 400 --repeats 3

*lean* makes the training pass and one validation pass per epoch; *published* the passes of the published loop (training,
then loss and accuracy of training and validation set, each in a pass of its own). Ours makes a training pass and one
validation pass, evaluates before the first epoch too, and keeps the best variables; programs are compiled before.
PyTorch's forms are those whose step is the fastest here; with `--precision bfloat16` those in autocast are among the
forms of *lean*, while *published* stays in float32. A GPU runs the grid of `--seeds` seeds as one program.
"""

import argparse
import statistics
from collections.abc import Sequence

import jax
import torch

from benchmarks import torch_peer
from benchmarks.engine import BATCH, fit_seconds, images, members, problem_of
from benchmarks.step import peer, torch_parts
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.members import FitSettings

EPOCHS = 3
ALLOWED = {"highest": torch_peer.IN_FLOAT32, "bfloat16": torch_peer.FORMS}


def fastest_forms(
    architecture: str, train: tuple, allowed: Sequence[torch_peer.StepForm]
) -> tuple[torch_peer.StepForm, torch_peer.StepForm]:
    """The allowed form of PyTorch with the shortest step of three, and the one among those in float32."""
    point = Grid().points()[0]
    forms = torch_peer.working_forms(
        lambda f: peer(architecture, point, f), train[0][:BATCH], train[1][:BATCH], allowed
    )
    times = {form: torch_peer.step_seconds(trainer, train, BATCH, 3) for form, trainer in forms.items()}
    in_float32 = [form for form in times if form in torch_peer.IN_FLOAT32]
    return min(times, key=lambda form: times[form]), min(in_float32, key=lambda form: times[form])


def grid_seconds(
    architecture: str, form: torch_peer.StepForm, parts: tuple, published: bool, seeds: int
) -> float:
    """Seconds of the grid in PyTorch; trainers are made and warmed up before."""
    trainers = [peer(architecture, point, form) for _ in range(seeds) for point in Grid().points()]
    for trainer in trainers:
        trainer.step(parts[0][0][:BATCH], parts[0][1][:BATCH])
    return sum(torch_peer.grid_epoch_seconds(trainers, *parts, BATCH, published) for _ in range(EPOCHS))


def compare(architecture: str, options: argparse.Namespace) -> str:
    """A line of the table."""
    pixels, labels = images(options.train, options.valid)
    problem = problem_of(architecture, pixels, labels, options.train, options.precision)
    parts = torch_parts(pixels, labels, options.train)
    specs = members(problem, options.seeds)
    on_cpu = jax.default_backend() == "cpu"
    size = {} if on_cpu else {"vectorise": "vmap", "members_per_program": len(specs)}
    settings = FitSettings(StopRule(EPOCHS, patience=EPOCHS), **size)
    fit_seconds(problem, specs[:1] if on_cpu else specs, settings)
    lean_form, published_form = fastest_forms(architecture, parts[0], ALLOWED[options.precision])
    clocks = {
        "ours": lambda: fit_seconds(problem, specs, settings),
        "lean": lambda: grid_seconds(architecture, lean_form, parts, False, options.seeds),
        "published": lambda: grid_seconds(architecture, published_form, parts, True, options.seeds),
    }
    rounds = [{name: clock() for name, clock in clocks.items()} for _ in range(options.repeats)]
    ours, lean, published = (statistics.median(each[name] for each in rounds) for name in clocks)
    seconds = " | ".join(f"{each:.1f}" for each in (ours, lean, published))
    return f"| {architecture} | {lean_form}, {published_form} | {seconds} | {ours / published:.2f} | {ours / lean:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", default="convnet-1,convnet-4,resnet-2,densenet-1")
    parser.add_argument("--train", type=int, default=800, help="training samples")
    parser.add_argument("--valid", type=int, default=200, help="validation samples")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--precision", choices=list(ALLOWED), default="highest")
    options = parser.parse_args()
    print(
        f"jax {jax.__version__}, torch {torch.__version__}, {jax.default_backend()}, medians of {options.repeats}, "
        f"ours in {options.precision}"
    )
    print("| network | PyTorch's forms | ours s | lean s | published s | over published | over lean |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for architecture in options.architectures.split(","):
        print(compare(architecture, options), flush=True)


if __name__ == "__main__":
    main()
