"""An epoch of the joint model against the separate epochs of its time steps, interleaved in one run; and its memory.

python -m benchmarks.joint --data_dir=DIR                       # CIFAR-10 RCL, convnet-1
python -m benchmarks.joint --memory_only --architecture=resnet-4 --method=joint_side_tune_block --steps=8

In an epoch of the joint model every step has as many minibatches as the longest one, so the separate epochs are scaled
to that number. Memory is what XLA reports of the compiled epoch of one member: its arguments (images not counted) and
its working space, with the best variables, kept beside them.
"""

import argparse
import itertools
import statistics
import time
from dataclasses import replace

import jax
import jax.numpy as jnp

from configs.cifar10_rcl import get_config
from configs.cifar10_rotation import get_config as rotation_config
from seqfinal_jax.config.parse import parse
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.nodes import Stage
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.methods.stages.problem import stage_batches, stage_problem
from seqfinal_jax.methods.stages.start import member_masks, start_variables
from seqfinal_jax.models.per_step.network import init_steps
from seqfinal_jax.runs.loop import build_pool, fit_settings
from seqfinal_jax.runs.plan import Plan, make_plan
from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import MemberSpec

MIB = 2**20


def epoch_seconds(plan: Plan, stage: Stage, pool: object, data: dict, epochs: int) -> float:
    """Median seconds of an epoch of one member, training and validation, without the first one."""
    network, training = plan.networks[plan.architectures[0]], plan.training
    seed = plan.seeds[0]
    problem = stage_problem(
        stage, network, training, pool, data,
        lambda member: start_variables(stage, network, training, None, None, member), lambda seed: None,
    )  # fmt: skip
    member = MemberSpec(seed, stage.grid.points()[0], member_masks(stage, network, ()), group=seed)
    settings = fit_settings(stage, stage_network(network, stage.form), training)
    marks: list[float] = []
    rule = StopRule(epochs, patience=epochs)
    fit(
        problem,
        [member],
        replace(settings, rule=rule),
        lambda chunk, specs: marks.append(time.perf_counter()),
    )
    return statistics.median(b - a for a, b in itertools.pairwise(marks))


def minibatches(plan: Plan, stage: Stage, pool: object) -> int:
    """Minibatches of an epoch of a stage."""
    network, training = plan.networks[plan.architectures[0]], plan.training
    return stage_batches(stage, network, training, pool)(plan.seeds[0], 1).count


def compare(plan: Plan, repeats: int, epochs: int) -> None:
    """Prints the ratio of the joint epoch to the separate ones, each repeat a line."""
    joint = plan.node(plan.architectures[0], plan.methods[0])
    joint = replace(joint, grid=Grid((1e-3,), (1e-4,), (0.1,), (0.5,), (3.0,)))
    plain = Grid((1e-3,), (1e-4,), (), (0.5,))
    alone = [Stage(f"step{t}", "source", (t,), (t,), plain) for t in joint.train]
    pool = build_pool(plan, plan.seeds[:1])
    data = jax.device_put({"images": pool.images, "labels": pool.labels})
    longest = minibatches(plan, joint, pool)
    ratios = []
    for _ in range(repeats):
        separate = sum(
            epoch_seconds(plan, stage, pool, data, epochs) * longest / minibatches(plan, stage, pool)
            for stage in alone
        )
        together = epoch_seconds(plan, joint, pool, data, epochs)
        ratios.append(together / separate)
        print(
            f"joint epoch {together:.2f} s, separate epochs {separate:.2f} s, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(
        f"{plan.methods[0]}, {plan.architectures[0]}, {longest} minibatches per step: median ratio "
        f"{statistics.median(ratios):.2f}"
    )


def memory(plan: Plan) -> None:
    """Prints arguments and working space of the compiled epoch of one member, with the best variables beside."""
    stage, training = plan.node(plan.architectures[0], plan.methods[0]), plan.training
    network = plan.networks[plan.architectures[0]]
    steps = stage_network(network, stage.form)
    pool = build_pool(plan, plan.seeds[:1])
    problem = stage_problem(stage, network, training, pool, {}, lambda member: None, lambda seed: None)
    lead = lambda tree: jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), tree)  # noqa: E731
    variables = lead(jax.eval_shape(lambda: init_steps(steps, jax.random.key(0))))
    compiled = programs.Program(problem.objective, problem.optimiser, "map")
    state = jax.eval_shape(lambda v: programs.init_state(compiled, v), variables)
    masks = jax.tree.map(lambda mask: jnp.asarray(mask)[None], member_masks(stage, network, ()))
    hyper = {name: jnp.ones(1) for name in stage.grid.points()[0]}
    member = programs.Member(jnp.zeros(1, jnp.int32), jax.random.split(jax.random.key(0), 1), hyper, masks)
    batches = problem.batches(plan.seeds[0], 1)
    batch = jax.tree.map(
        lambda leaf: jnp.asarray(leaf)[None], programs.Batch(batches.index, batches.mask, batches.weight)
    )
    data = {
        "images": jax.ShapeDtypeStruct(pool.images.shape, "uint8"),
        "labels": jax.ShapeDtypeStruct(pool.labels.shape, "int32"),
    }
    began = time.perf_counter()
    epoch = programs.Epoch(data, None, batch, jnp.int32(1), jnp.int32(1))
    program = programs.train_epoch.lower(compiled, state, member, epoch).compile()
    report = program.memory_analysis()
    arguments = (report.argument_size_in_bytes - pool.images.size) / MIB
    best = sum(leaf.size * 4 for leaf in jax.tree.leaves(variables)) / MIB
    print(
        f"{plan.methods[0]}, {plan.architectures[0]}, {steps.num_steps} steps: arguments {arguments:.0f} MiB, "
        f"working space {report.temp_size_in_bytes / MIB:.0f} MiB, best variables {best:.0f} MiB, images "
        f"{pool.images.size / MIB:.0f} MiB; traced and compiled in {time.perf_counter() - began:.0f} s"
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="convnet-1")
    parser.add_argument("--method", default="joint")
    parser.add_argument("--data_dir")
    parser.add_argument(
        "--steps", type=int, default=4, help="time steps; other than 4: CIFAR-10 rotated further"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--memory_only", action="store_true")
    asked = parser.parse_args()
    config = get_config("") if asked.steps == 4 else rotation_config(str(asked.steps))
    config.methods, config.architectures = (asked.method,), (asked.architecture,)
    config.precision = "highest"
    plan = make_plan(parse(config), asked.data_dir)
    memory(plan)
    if not asked.memory_only:
        compare(plan, asked.repeats, asked.epochs)


if __name__ == "__main__":
    main()
