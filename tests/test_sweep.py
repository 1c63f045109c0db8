"""Sweeps: the same bytes through one process, this process, local workers and a real Slurm; signals; what is left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from seqfinal_jax.results.store import Cell
from seqfinal_jax.runs.claims import process_identity
from seqfinal_jax.runs.environment import usable_cores
from seqfinal_jax.sweeps import status, sweep
from seqfinal_jax.sweeps.record import Run, Sweep, read_sweep, write_sweep
from seqfinal_jax.sweeps.submit import make_workers
from tests import slurm

ROOT = Path(__file__).parents[1]
CONFIG = "--config=configs/digits_rcl.py:smoke"
CELLS = (
    "--config.methods=erm_final,erm_fine_tune,erm_linear_probe_fine_tune",
    "--config.architectures=convnet-1", "--config.seeds=0,1",
)  # fmt: skip
LONG = (
    "--config.methods=erm_final", "--config.seeds=0,", "--config.training.max_epochs=800",
    "--config.training.patience=800", "--config.grid.dropout=0.0,",
)  # fmt: skip


def launched(workdir, *flags, environment=None, **streams):
    command = [sys.executable, "-m", "seqfinal_jax", "sweep", *flags, f"--workdir={workdir}"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **streams},
    )  # fmt: skip


def finished(process, expected=0):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == expected, output
    return output


def stages_of_seeds(workdir):
    timing = pd.read_csv(workdir / "timing.csv")
    return sorted((row.fingerprint, seed) for row in timing.itertuples() for seed in str(row.seeds).split())


def assert_same(workdir, one):
    assert (workdir / "results.csv").read_bytes() == (one / "results.csv").read_bytes()
    assert stages_of_seeds(workdir) == stages_of_seeds(one)
    assert len(set(stages_of_seeds(one))) == len(stages_of_seeds(one))
    assert not list((workdir / "claims").iterdir())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The cells in a single process, without a sweep."""
    workdir = tmp_path_factory.mktemp("one")
    command = [sys.executable, "-m", "seqfinal_jax.main", CONFIG, *CELLS, f"--workdir={workdir}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return workdir


@pytest.mark.slow
def test_three_plain_processes_in_one_folder_do_everything_once_with_the_same_bytes(tmp_path, one):
    command = [sys.executable, "-m", "seqfinal_jax.main", CONFIG, *CELLS, f"--workdir={tmp_path}"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    for process in [subprocess.Popen(command, cwd=ROOT, **streams) for _ in range(3)]:
        finished(process)
    assert_same(tmp_path, one)
    for path in one.rglob("*.csv"):
        if path.name != "timing.csv":
            assert (tmp_path / path.relative_to(one)).read_bytes() == path.read_bytes(), path
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(("--cluster=debug",), id="debug"),
        pytest.param(("--cluster=local", "--workers=2"), id="local"),
    ],
)
def test_the_same_bytes_on_this_machine(tmp_path, one, flags):
    output = finished(launched(tmp_path, CONFIG, *CELLS, *flags))
    assert_same(tmp_path, one)
    assert (tmp_path / "report" / "index.html").is_file() and "6 cells" in output
    again = finished(launched(tmp_path, CONFIG, *CELLS, *flags))
    assert "Nothing to do: all 6 cells are complete." in again
    assert "6 of 6 cells done, 0 failed" in finished(launched(tmp_path, "status"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    reason = slurm.missing()
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        try:
            environment = stack.enter_context(slurm.cluster(tmp_path_factory.mktemp("slurm") / "cluster"))
        except RuntimeError as error:
            pytest.skip(f"Slurm is installed and does not start here: {error}")
        yield environment


def empty_queue(environment, seconds=300):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done = subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True)
        if not done.stdout.strip():
            return
        time.sleep(0.5)
    raise TimeoutError(done.stdout)


SLURM = ("--cluster=slurm", "--cpus=1", f"--threads={usable_cores()}", "--memory=0")


@pytest.mark.slow
def test_the_same_bytes_through_slurm(tmp_path, one, cluster):
    flags = (CONFIG, *CELLS, *SLURM, "--workers=2", "--time=30")
    assert "2 jobs were submitted" in finished(launched(tmp_path, *flags, environment=cluster))
    empty_queue(cluster)
    finished(launched(tmp_path, "collect", environment=cluster))
    assert_same(tmp_path, one)


def saved_epoch(workdir, least=0):
    """The epoch of a saved state above `least`, waited for."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        for path in workdir.glob("stages/*/progress/*/meta.json"):
            try:
                epoch = json.loads(path.read_text()).get("epoch", 0)
            except (OSError, ValueError):
                continue
            if epoch > least:
                return epoch
        time.sleep(0.2)
    raise TimeoutError(f"no state above epoch {least}")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A long fit that nothing disturbs."""
    workdir = tmp_path_factory.mktemp("unbroken")
    command = [sys.executable, "-m", "seqfinal_jax.main", CONFIG, *LONG, f"--workdir={workdir}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["TERM", "USR2"])
def test_a_job_of_slurm_that_is_asked_to_stop_goes_back_and_goes_on(tmp_path, unbroken, cluster, sign):
    finished(launched(tmp_path, CONFIG, *LONG, *SLURM, "--workers=1", environment=cluster))
    job = read_sweep(tmp_path).submissions[0]["jobs"][0]
    epoch = saved_epoch(tmp_path)
    subprocess.run(["scancel", f"--signal={sign}", job], env=cluster, check=True)
    empty_queue(cluster)
    log = "".join(path.read_text() for path in tmp_path.glob("sweep/logs/*_log.out"))
    assert "goes back into the queue" in log and epoch > 0
    finished(launched(tmp_path, "collect", environment=cluster))
    assert (tmp_path / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()


@pytest.mark.rare
def test_a_cancelled_sweep_stays_cancelled_and_retry_goes_on(tmp_path, unbroken, cluster):
    finished(launched(tmp_path, CONFIG, *LONG, *SLURM, "--workers=1", environment=cluster))
    saved_epoch(tmp_path)
    assert "cancelled: " in finished(launched(tmp_path, "cancel", environment=cluster))
    empty_queue(cluster)
    kept = saved_epoch(tmp_path)
    assert "0 of 1 cells done" in finished(launched(tmp_path, "status", environment=cluster))
    finished(launched(tmp_path, "retry", environment=cluster))
    empty_queue(cluster)
    finished(launched(tmp_path, "collect", environment=cluster))
    assert kept > 0
    assert (tmp_path / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "asked"), [(os.kill, signal.SIGTERM), (os.killpg, signal.SIGINT)])
def test_a_local_sweep_that_is_asked_to_stop_is_continued(tmp_path, unbroken, how, asked):
    """By a signal to the launcher, or by Ctrl-C at a terminal, which reaches all processes of the group."""
    process = launched(tmp_path, CONFIG, *LONG, "--workers=1", start_new_session=True)
    saved_epoch(tmp_path)
    how(process.pid, asked)
    said = finished(process, expected=75)
    assert "Traceback" not in said and said.count("interrupted; the state is saved") == 1
    assert saved_epoch(tmp_path) > 0
    finished(launched(tmp_path, CONFIG, *LONG, "--workers=1"))
    assert (tmp_path / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(tmp_path, unbroken):
    process = launched(tmp_path, CONFIG, *LONG, "--workers=1")
    saved_epoch(tmp_path)
    who = json.loads((tmp_path / "sweep" / "workers" / "worker1.json").read_text())
    child = subprocess.run(["pgrep", "-P", str(who["pid"])], capture_output=True, text=True).stdout.split()
    for pid in [who["pid"], *map(int, child)]:
        os.kill(pid, signal.SIGKILL)
    assert "worker 1 ended with -1 and is started again" in finished(process)
    assert (tmp_path / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()


def made_up(folder, count=1000, done=400, failed=3):
    """A sweep of two configurations whose cells are there by name only."""
    cells = [Cell(f"convnet-{1 + seed % 4}", f"method{seed % 10}", seed) for seed in range(count // 2)]
    runs = tuple(Run(f"configs/{name}.py", (), name, None, tuple(cells)) for name in ("a", "b"))
    found = Sweep(
        runs, "local", 2, 2, submissions=({"time": time.time() - 100, "cluster": "local", "jobs": []},)
    )
    write_sweep(folder, found)
    every = [folder / r.place / "cells" / m / a / f"seed{s}" for r in runs for a, m, s in r.cells]
    for number, cell in enumerate(every[: done + failed]):
        cell.mkdir(parents=True)
        (cell / ("result.json" if number < done else "error.txt")).write_text("{}")
    return found


def test_the_state_of_many_cells(tmp_path, capsys):
    made_up(tmp_path)
    assert sweep.main(["status", f"--workdir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines[2:4]] == [
        ["a", "500", "400", "3", "97"],
        ["b", "500", "0", "0", "500"],
    ]
    assert lines[-2] == "400 of 1000 cells done, 3 failed, 0 stages being trained, no worker is running"
    assert lines[-1].startswith(f"seqfinal sweep retry --workdir={tmp_path}")
    lines.pop()
    assert max(map(len, lines)) <= 80


def test_other_json_among_the_locks_is_no_lock(tmp_path, capsys):
    made_up(tmp_path)
    (tmp_path / "a" / "claims").mkdir(parents=True)
    (tmp_path / "sweep" / "workers").mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(("[]", "3", "null", "{}", '{"host": 1}', '"text"')):
        (tmp_path / "a" / "claims" / f"other{number}.json").write_text(text)
        (tmp_path / "sweep" / "workers" / f"worker{number}.json").write_text(text)
    assert sweep.main(["status", f"--workdir={tmp_path}"]) == 0
    assert "0 stages being trained, no worker is running" in capsys.readouterr().out


def test_a_sweep_with_a_living_worker_is_at_work(tmp_path, capsys):
    made_up(tmp_path)
    who = {**process_identity(), "job": "", "began": 0.0}
    (tmp_path / "sweep" / "workers").mkdir(parents=True, exist_ok=True)
    (tmp_path / "sweep" / "workers" / "worker1.json").write_text(json.dumps(who))
    assert sweep.main(["status", f"--workdir={tmp_path}"]) == 0
    assert "about 2 min left" in capsys.readouterr().out


def test_a_keyboard_interrupt_while_planning_is_one_line(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("seqfinal_jax.sweeps.plan.plan_runs", interrupted)
    assert sweep.main([CONFIG, f"--workdir={tmp_path / 'x'}"]) == 75
    assert capsys.readouterr().err.splitlines() == [
        "error: stopped; nothing was sent, or what was sent goes on (see status)"
    ]


def test_the_time_left_follows_the_pace(tmp_path):
    found = made_up(tmp_path, count=20, done=5, failed=0)
    assert (
        status.time_left(found, status.progress(found, tmp_path)) == "about 5 min left"
    )  # 20 s each, 15 left


def test_workers_share_the_cores_and_have_one_size_of_pool(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    run = Run("configs/x.py", ("--config.seeds=1,",), ".", "/data", (("a", "m", 1),))
    workers = make_workers(Sweep((run,), "local", 2, 4), tmp_path)
    assert [worker.cores for worker in workers] == [(0, 2), (1, 3)] and {w.threads for w in workers} == {4}
    assert workers[1].commands[0] == (
        "--config=configs/x.py", f"--workdir={tmp_path}", "--config.seeds=1,", "--data_dir=/data", "--worker=2/2"
    )  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    workers = make_workers(Sweep((run,), "local", 4, 4), tmp_path)
    assert [worker.gpu for worker in workers] == ["3", "5", "3", "5"] and workers[0].cores == ()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give a configuration"),
        ([CONFIG, "--wrkers=2"], "unknown flag --wrkers; did you mean --workers?"),
        ([CONFIG, CONFIG], "has the name 'digits_rcl-smoke', as one before it has"),
        (["--config=configs/nothing.py"], "--config: there is no file configs/nothing.py"),
        ([CONFIG, "--config.training.patienc=3"], "did you mean 'training.patience'?"),
        ([CONFIG, "--cluster=debug", "--workers=2"], "with one worker"),
        ([CONFIG, "--cluster=slurm", "--slurm=qos"], "--slurm: expected name=value,name=value, found 'qos'"),
        ([CONFIG, "--workers=-1"], "--workers and --threads are counts"),
        ([CONFIG, "--workers=500"], "--workers=500: there are"),
        ([CONFIG, "--cluster=slurm", "--time=0"], "--time=0: expected 1 or more"),
        ([CONFIG, "--cluster=slurm", "--memory=-1"], "--memory=-1.0: expected 0 or more"),
        (["status"], "has no sweep"),
        (["status", CONFIG], "leave --config out"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, capsys, flags, message):
    assert sweep.main([*flags, f"--workdir={tmp_path}", *([] if "status" in flags else ["--dry_run"])]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_says_what_and_where_and_writes_nothing(tmp_path, capsys):
    flags = [
        CONFIG,
        "--config=configs/digits_rcl.py",
        "--cluster=slurm",
        "--workers=3",
        "--partition=gpu",
        "--gpus=1",
    ]
    assert sweep.main([*flags, f"--workdir={tmp_path / 'sweep'}", "--dry_run"]) == 0
    said = capsys.readouterr().out
    assert f"results in {tmp_path / 'sweep' / 'digits_rcl-smoke'}" in said.replace("\n", "")
    assert "3 workers as jobs of Slurm" in said and "partition gpu" in said and "gpus_per_node 1" in said
    assert not (tmp_path / "sweep").exists()
