"""Memory of one more member in a program, by XLA's own account, against the estimate that sizes chunks on a GPU.

python -m benchmarks.memory [--architectures NAMES]

The training program of 2 and of 4 members (`vmap`, a minibatch of 100) is compiled, not run; half the difference is
what a member adds: its arguments and the working space. *working / forward* is that working space over the sum of all
that a forward pass computes, which `models/traced.py` assumes to be at most `WORKING_SPACE`. *members in 80 GB* is what
the estimate puts into one program of a GPU of 80 GB.
"""

import argparse

from benchmarks.engine import ARCHITECTURES, BATCH, compiled_epoch, images, members, problem_of
from seqfinal_jax.models.traced import COPIES, WORKING_SPACE, member_bytes, network_bytes
from seqfinal_jax.training.engine.members import FitSettings

MIB = 2**20


def line(architecture: str) -> str:
    """A line of the table."""
    pixels, labels = images(BATCH, BATCH)
    problem = problem_of(architecture, pixels, labels, BATCH)
    use = {}
    for size in (2, 4):
        settings = FitSettings(vectorise="vmap", members_per_program=size)
        compiled, seconds = compiled_epoch(problem, members(problem)[:size], settings)
        use[size] = compiled.memory_analysis()
    arguments = (use[4].argument_size_in_bytes - use[2].argument_size_in_bytes) / 2
    working = (use[4].temp_size_in_bytes - use[2].temp_size_in_bytes) / 2
    variables, estimated = network_bytes(problem.objective.network, BATCH)
    best = variables  # kept beside the program
    estimate = member_bytes(problem.objective.network, BATCH)
    figures = [each / MIB for each in (variables, arguments, working, arguments + working + best, estimate)]
    share, many = working / (estimated / WORKING_SPACE), int(0.8 * 80e9 / estimate)
    cells = " | ".join(f"{each:.0f}" if each >= 10 else f"{each:.1f}" for each in figures)
    return f"| {architecture} | {cells} | {share:.2f} | {many} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES), help="names joined by commas")
    asked = parser.parse_args()
    print(
        f"MiB per training; estimate: {COPIES} copies of the variables and {WORKING_SPACE:.2f} of the forward pass"
    )
    print(
        "| network | variables | arguments | working | sum with best | estimate | working / forward "
        "| members in 80 GB | compile s |\n|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for architecture in asked.architectures.split(","):
        print(line(architecture), flush=True)


if __name__ == "__main__":
    main()
