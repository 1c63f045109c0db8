"""What surrounds a run cannot cost it: terminals, disks, caches, displays, signals. In processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import forked

ROOT = Path(__file__).parents[1]
RUN = [sys.executable, "-m", "seqfinal_jax.main", "--config=configs/digits_rcl.py:smoke"]
ONE = ["--config.methods=erm_final", "--config.seeds=0,", "--config.grid.dropout=0.0,"]
GOES_ON = "what is done is kept; run the same command to continue"


def run(*flags, stdout=subprocess.PIPE, **environment):
    return subprocess.run(
        [*RUN, *flags], cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, env={**os.environ, **environment},
        text=True, errors="replace", timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_a_hostile_environment_costs_warnings_only(tmp_path):
    """No display, LaTeX asked for, a terminal that knows few letters, no cache, a home that `~` stands for."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 99\n")
    done = run(
        *ONE, "--workdir=~/run", HOME=str(tmp_path), SEQFINAL_CACHE_DIR="/dev/full", PYTHONIOENCODING="latin-1",
        MPLBACKEND="module://matplotlib_inline.backend_inline", MATPLOTLIBRC=str(tmp_path / "matplotlibrc"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "compiled programs are not kept" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "run" / "figures" / "methods.png").is_file()
    assert "Final" in done.stdout


@pytest.mark.slow
def test_a_closed_pipe_and_a_full_disk_are_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        done = run(*ONE, f"--workdir={tmp_path}", stdout=full)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        f"error: no space is left on the disk ([Errno 28] No space left on device); {GOES_ON}"
    ]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = run(*ONE, f"--workdir={tmp_path}", stdout=closed)
    assert done.returncode == 141
    assert done.stderr.splitlines() == [f"error: standard output was closed; {GOES_ON}"]


@pytest.mark.parametrize(
    "sign",
    [
        signal.SIGTERM,
        *(pytest.param(s, marks=pytest.mark.slow) for s in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)),
    ],
)
def test_a_run_that_is_asked_to_stop_saves_its_state_and_is_to_be_continued(tmp_path, sign):
    long = ["--config.training.max_epochs=100000", "--config.training.patience=100000"]
    process = subprocess.Popen(
        [*RUN, *ONE, *long, f"--workdir={tmp_path}"], cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    ends = time.monotonic() + 120
    while not list(tmp_path.glob("stages/*/progress/*/meta.json")) and time.monotonic() < ends:
        time.sleep(0.1)
    process.send_signal(sign)
    asked = time.time()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75
    assert errors.splitlines() == [
        f"{sign.name}: stopping after the current epoch",
        "error: interrupted; the state is saved. Run the same command to resume",
    ]
    [meta] = tmp_path.glob("stages/*/progress/*/meta.json")
    assert (
        meta.stat().st_mtime >= asked - 0.1
    )  # of the epoch that was running, not of the last save within the budget
    assert not list((tmp_path / "claims").iterdir())


def test_a_device_that_is_not_there_is_one_line(tmp_path):
    done = run(*ONE, f"--workdir={tmp_path / 'run'}", JAX_PLATFORMS="cuda")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "JAX finds no device for JAX_PLATFORMS='cuda'" in done.stderr
    assert not (tmp_path / "run").exists()


CONFIG = """from seqfinal_jax.config import base_config


def get_config():
    config = base_config("mine", "digits", "rotation", 200, (200,), 100)
    {line}
    return config
"""


MISTAKES = [
    ("config.training.max_epoch = 3", "line 6: the configuration has no field 'max_epoch'"),
    ("config.trainning = 3", "line 6: the configuration has no field 'trainning'"),
    ("{}['absent']", "line 6: KeyError: 'absent'"),
    ("config.seeds = (0,", "line 6: '(' was never closed"),
    ("import nothing_of_that_name", "line 6: ModuleNotFoundError: No module named"),
]


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """Configuration files with one mistake each, and what a run says of them."""
    paths = [tmp_path_factory.mktemp("mistake") / "mine.py" for _ in MISTAKES]
    for path, (line, _) in zip(paths, MISTAKES, strict=True):
        path.write_text(CONFIG.replace("{line}", line))
    done = forked(
        [["seqfinal_jax.main", f"--config={path}", f"--workdir={path.parent / 'run'}"] for path in paths]
    )
    return {line: (path, said) for (line, _), path, said in zip(MISTAKES, paths, done, strict=True)}


@pytest.mark.parametrize(("line", "message"), MISTAKES)
def test_a_mistake_in_a_configuration_file_is_shown_with_its_line(mistaken, line, message):
    path, done = mistaken[line]
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"error: {path}, {message}" in done.stderr
