"""Short commands whose imports are paid once: one process imports, and each command runs in a fork of it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORKS = """
import json, os, runpy, sys, traceback, warnings
warnings.simplefilter("ignore")
import seqfinal_jax.config.command_line, seqfinal_jax.listing, seqfinal_jax.runs.loop, seqfinal_jax.sweeps.sweep
found = []
for module, *arguments in json.loads(sys.argv[1]):
    ends = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        for descriptor, (_, end) in enumerate(ends, 1):
            os.dup2(end, descriptor)
        sys.argv, status = ["", *arguments], 0
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as exit:
            status = exit.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        os._exit(status)
    for _, end in ends:
        os.close(end)
    texts = [open(end).read() for end, _ in ends]
    found.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *texts])
print(json.dumps(found))
"""


def forked(
    commands: Sequence[Sequence[str]], cwd: Path = ROOT, **environment: str
) -> list[subprocess.CompletedProcess]:
    """What `python -m MODULE ARGUMENTS` gives for each of the commands (MODULE, ARGUMENTS...), which must be short."""
    program = [sys.executable, "-c", FORKS, json.dumps(list(map(list, commands)))]
    environment = {**os.environ, **environment}
    done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [
        subprocess.CompletedProcess(command, *outcome)
        for command, outcome in zip(commands, json.loads(done.stdout.splitlines()[-1]), strict=True)
    ]
