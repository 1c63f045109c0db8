"""The command line: errors in one line, and a run that is killed and started again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import forked

ROOT = Path(__file__).parents[1]


def command(workdir, *flags, config="configs/digits_rcl.py:smoke"):
    return [sys.executable, "-m", "seqfinal_jax.main", f"--config={config}", f"--workdir={workdir}", *flags]


def run(workdir, *flags, **options):
    return subprocess.run(
        command(workdir, *flags, **options), cwd=ROOT, capture_output=True, text=True, timeout=300
    )


DIGITS = "--config=configs/digits_rcl.py"
WRONG = [
    (f"{DIGITS} --config.seedz=0", "no field 'seedz'; did you mean 'seeds'?"),
    (f"{DIGITS}:quik", "unknown preset 'quik' behind the config file; did you mean 'quick'?"),
    ("--config=configs/absent.py", "--config: there is no file configs/absent.py"),
    ("--config=configs/cifar10_rotation.py:9", "expected a number of time steps 2..8"),
    (f"{DIGITS} --config.training.patience=2.5", "--config.training.patience=2.5"),
    ("--config=configs/cifar10_rcl.py:smoke --data_dir=absent", "absent"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What these commands give, each with a run folder of its own that does not exist."""
    places = [tmp_path_factory.mktemp("wrong") / "run" for _ in WRONG]
    commands = [
        ["seqfinal_jax.main", *flags.split(), f"--workdir={place}"]
        for (flags, _), place in zip(WRONG, places, strict=True)
    ]
    done = forked(commands)
    return {flags: (*each, place) for (flags, _), *each, place in zip(WRONG, done, places, strict=True)}


@pytest.mark.parametrize(("flags", "message"), WRONG)
def test_a_usage_error_is_one_line(answers, flags, message):
    done, workdir = answers[flags]
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert message in lines[-1] and "Traceback" not in done.stderr and not workdir.exists()
    assert len(lines) == 1


@pytest.mark.slow
def test_killed_at_random_moments_a_run_ends_with_the_same_bytes(tmp_path):
    flags = [
        "--config.training.max_epochs=6",
        "--config.seeds=0,1",
        "--config.methods=erm_final,erm_fine_tune",
    ]
    began = time.monotonic()
    whole = run(tmp_path / "whole", *flags)
    duration = time.monotonic() - began
    assert whole.returncode == 0, whole.stderr
    assert "selection: validation accuracy of the final step" in whole.stdout
    for _ in range(2):
        moment = random.uniform(0.3, 0.9) * duration
        process = subprocess.Popen(
            command(tmp_path / "killed", *flags),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        print(f"killed after {moment:.1f} of {duration:.1f} s")
    again = run(tmp_path / "killed", *flags)
    assert again.returncode == 0, again.stderr
    names = [
        "results.csv",
        *(str(p.relative_to(tmp_path / "whole")) for p in (tmp_path / "whole").glob("cells/**/*.*s*")),
    ]
    for name in names:
        if not name.endswith(".npz"):
            assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert {p.name for p in (tmp_path / "whole" / "figures").iterdir()} == {
        "methods.png",
        "confusion-convnet-1.csv",
        "confusion-convnet-1.png",
        "cost.png",
        "data_examples.png",
        "class_counts.png",
        "learning_curves-convnet-1.png",
    }
    assert not list((tmp_path / "killed" / "stages").glob("*/progress"))


def cached_programs(cache):
    return {path.name: path.stat().st_mtime_ns for path in (cache / "xla").glob("*-cache")}


def started(tmp_path, name, flags=(), **environment):
    done = subprocess.run(
        command(tmp_path / name, *(flags or ["--config.methods=erm_final"])),
        cwd=ROOT,
        env={**os.environ, "SEQFINAL_CACHE_DIR": str(tmp_path / "cache"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return (tmp_path / name / "results.csv").read_bytes(), done.stderr


@pytest.mark.slow
def test_a_second_start_compiles_nothing_and_damaged_programs_are_built_anew(tmp_path):
    """Cut off, overwritten, or something else altogether: what cannot be used is built anew."""
    first, _ = started(tmp_path, "first")
    kept = cached_programs(tmp_path / "cache")
    again, _ = started(tmp_path, "again")
    assert again == first
    assert {name.split("-")[0] for name in kept} >= {"jit_train_epoch", "jit_evaluate", "jit_predict_batch"}
    assert kept.items() <= cached_programs(tmp_path / "cache").items()  # none was written again
    for place, path in enumerate(sorted((tmp_path / "cache" / "xla").glob("*-cache"))):
        whole = path.read_bytes()
        path.write_bytes([whole[: len(whole) // 2], b"", b"not a program at all", whole[::-1]][place % 4])
    third, _ = started(tmp_path, "third")
    assert third == first
