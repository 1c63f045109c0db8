"""Sweeps on Dask: the groups of tasks, the same bytes when a worker or the scheduler is killed, and what is wrong."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from seqfinal_jax.methods.stages import compute
from seqfinal_jax.results.store import Cell, Store
from seqfinal_jax.runs.claims import Busy, Claims, held_claims
from seqfinal_jax.runs.environment import usable_cores
from seqfinal_jax.runs.graph import pending, tasks
from seqfinal_jax.runs.share import Group, groups, read_group
from seqfinal_jax.sweeps import sweep
from seqfinal_jax.sweeps.on_dask import GroupProcess
from seqfinal_jax.sweeps.record import Run, Sweep, read_sweep, write_sweep
from tests.kills import files
from tests.processes import ROOT
from tests.runs import make_plan, run, smoke_config

CONFIG = "--config=configs/digits_rcl.py:smoke"
CELLS = (
    "--config.methods=erm_fine_tune,erm_linear_probe_fine_tune", "--config.seeds=0,", "--config.grid.dropout=0.0,",
    "--config.training.max_epochs=150", "--config.training.patience=150", "--config.grid.learning_rate=0.001,",
)  # fmt: skip
TWO = {
    "methods": ("erm_fine_tune", "erm_linear_probe_fine_tune"),
    "grid__dropout": (0.0,),
    "training__max_epochs": 1,
}
SHARED = Group(TWO["methods"], "convnet-1", (0,))


@pytest.mark.parametrize("together", [False, True])
def test_the_groups_hold_every_task_and_need_groups_that_stand_before_them(together):
    methods = ("erm_final", "erm_fine_tune", "erm_linear_probe_fine_tune", "sequential_fine_tune")
    plan = make_plan(smoke_config(methods=methods, seeds=(0, 1)))
    found = groups(tasks(plan, plan.cells()), together)
    done = {}
    for group, needs in found.items():
        assert len(group.seeds) == 1 + together and read_group(str(group)) == group
        own = tasks(plan, group.of(plan))
        left = pending(own, done.__contains__, group.wanted(own))
        assert left and {done[need] for task in left for need in task.needs if need in done} <= {*needs}
        done |= dict.fromkeys(left, group)
    assert set(done) == set(tasks(plan, plan.cells()))
    assert {len(group.methods) for group in found} >= {1, 2}


def test_a_group_of_two_methods_is_what_they_share_and_the_others_do_not_wait_for_locks(tmp_path):
    assert run(smoke_config(**TWO), tmp_path, share=SHARED) == 0
    [history] = tmp_path.glob("stages/*/seed0/meta.json")
    assert history.parents[1].name.startswith("history-") and not list(tmp_path.glob("cells/*"))
    one = Group(("erm_fine_tune",), "convnet-1", (0,))
    plan = make_plan(smoke_config(**TWO))
    final = tasks(plan, one.of(plan))[-1].key
    with Claims(tmp_path).hold([f"{final}-seed0"]), pytest.raises(Busy):
        run(smoke_config(**TWO), tmp_path, share=one)
    assert run(smoke_config(**TWO), tmp_path, share=one) == 0
    assert [path.parents[2].name for path in tmp_path.glob("cells/*/*/*/result.json")] == ["erm_fine_tune"]


def test_a_group_that_fails_fails_all_cells_that_need_it(tmp_path, monkeypatch):
    def diverges(context, stage, seeds):
        return {seed: compute.diverged(context, stage, seed) for seed in seeds}

    monkeypatch.setattr(compute, "_fit", diverges)
    assert run(smoke_config(**TWO), tmp_path, share=SHARED) == 2
    assert all(Store(tmp_path).failed_since(cell, 0) for cell in SHARED.cells)


@pytest.mark.parametrize("text", ["erm_final", "erm_final:convnet-1:x", ":convnet-1:0", "a:b:0:1"])
def test_another_text_is_no_group(text):
    with pytest.raises(ValueError, match="--group: expected METHODS:NETWORK:SEEDS"):
        read_group(text)


def test_a_group_of_another_run_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="--group=oracle:convnet-1:0: this run does not have all of these cells"
    ):
        run(smoke_config(**TWO), tmp_path, share=Group(("oracle",), "convnet-1", (0,)))


def test_the_record_of_a_sweep_keeps_its_groups(tmp_path):
    first, second = SHARED, Group(("erm_fine_tune",), "convnet-1", (0,))
    whole = Run("configs/x.py", (), ".", None, (Cell("convnet-1", "a", 0),), ((first, ()), (second, (0,))))
    before = Sweep((whole,), "dask", 2, 2, scheduler="tcp://here:8786")
    write_sweep(tmp_path, before)
    assert read_sweep(tmp_path) == before


DASK = (CONFIG, "--cluster=dask")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (DASK, "--cluster=dask needs --scheduler=tcp://HOST:PORT"),
        ((*DASK, "--scheduler=http://here:8787"), "--scheduler=http://here:8787: expected tcp://HOST:PORT"),
        ((*DASK, "--scheduler=here:8786"), "--scheduler=here:8786: expected tcp://HOST:PORT"),
        ((*DASK, "--scheduler=tcp://127.0.0.1:9", "--workers=2"), "leave --workers out"),
        ((*DASK, "--scheduler=tcp://127.0.0.1:9", "--cpus=0"), "--cpus=0: expected 1 or more"),
        ((CONFIG, "--scheduler=tcp://127.0.0.1:9"), "--scheduler needs --cluster=dask"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, capsys, flags, message):
    assert sweep.main([*flags, f"--workdir={tmp_path / 'x'}", "--dry_run"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_without_dask_the_remedy_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    flags = [*DASK, "--scheduler=tcp://127.0.0.1:9", f"--workdir={tmp_path / 'x'}"]
    assert sweep.main(flags) == 2
    assert 'needs Dask: pip install "seqfinal_jax[dask]"' in capsys.readouterr().err


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path):
    pytest.importorskip("distributed")
    code = "import sys, seqfinal_jax.sweeps.on_dask as d; d.CONNECT = 1; d.connected('tcp://127.0.0.1:9')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "--scheduler=tcp://127.0.0.1:9: no scheduler of Dask answers there" in done.stderr.splitlines()[-1]


class EndsWith(GroupProcess):
    """A group whose process does nothing and ends with the status that is its number of threads, or is killed."""

    def _started(self):
        with self.log.open("a") as log:
            log.write("started\n")
        code = f"import os, sys; sys.exit({self.threads}) if {self.threads} >= 0 else os.kill(os.getpid(), 9)"
        return subprocess.Popen([sys.executable, "-S", "-E", "-c", code])


def of_status(folder, status):
    cells = (Cell("convnet-1", "erm_final", 0), Cell("convnet-1", "erm_fine_tune", 0))
    return EndsWith((), folder, status, folder, cells, 0.0, folder / "stop", folder / "log", pause=0.0)


@pytest.mark.parametrize(
    ("status", "outcome", "starts"),
    [(0, 0, 1), (1, 1, 1), (75, "Reschedule", 1), (2, "RuntimeError", 1), (-9, "RuntimeError", 6)],
)
def test_what_dask_is_told_of_a_process_that_has_ended(tmp_path, status, outcome, starts):
    pytest.importorskip("distributed")
    try:
        found = of_status(tmp_path, status)()
    except Exception as error:
        found = type(error).__name__
    assert found == outcome
    assert (tmp_path / "log").read_text().count("started") == starts


def test_a_group_starts_no_process_after_a_request_to_stop_or_where_all_its_cells_have_failed(tmp_path):
    pytest.importorskip("distributed")
    process, store = of_status(tmp_path, 0), Store(tmp_path)
    store.fail_cell(process.cells[0], RuntimeError("first"))
    assert process() == 0  # the other cell still needs it
    store.fail_cell(process.cells[1], RuntimeError("second"))
    assert process() == 1
    process.stop.touch()
    assert process() == 75
    assert (tmp_path / "log").read_text().count("started") == 1


@contextlib.contextmanager
def cluster():
    """A cluster of two worker processes, as the process of its scheduler and its address."""
    command = [sys.executable, "-m", "tests.dask_cluster"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.communicate()  # closes its input
        assert process.poll() is not None


def launched(workdir, address):
    command = [
        sys.executable, "-m", "seqfinal_jax", "sweep", CONFIG, *CELLS, f"--workdir={workdir}", "--cluster=dask",
        f"--scheduler={address}", f"--threads={usable_cores()}",
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def at_work(workdir):
    """The process that trains a stage whose state has been saved, waited for."""
    ends = time.monotonic() + 180
    while time.monotonic() < ends:
        if list(workdir.glob("stages/*/progress/*/meta.json")):
            for lock in held_claims(workdir):
                return lock["pid"]
        time.sleep(0.05)
    raise TimeoutError("no process trains anything")


def parent(pid):
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True).stdout)


def compared(workdir):
    found = files(workdir)
    return {name: text for name, text in found.items() if not name.startswith(("sweep/", "claims/"))}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The files of the cells in a single process, without a sweep."""
    pytest.importorskip("distributed")
    workdir = tmp_path_factory.mktemp("one")
    command = [sys.executable, "-m", "seqfinal_jax.main", CONFIG, *CELLS, f"--workdir={workdir}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return compared(workdir)


@pytest.mark.rare
def test_a_worker_that_is_killed_in_the_middle_of_a_fit_changes_no_byte(tmp_path, one):
    """Its process saves its state and ends; Dask gives the group to another worker."""
    with cluster() as (_, address):
        process = launched(tmp_path, address)
        os.kill(parent(at_work(tmp_path)), signal.SIGKILL)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    logs = "".join(path.read_text() for path in tmp_path.glob("sweep/logs/group*.log"))
    assert logs.count("SIGTERM: stopping after the current epoch") == 1
    assert compared(tmp_path) == one


@pytest.mark.rare
def test_a_scheduler_that_is_killed_is_said_and_the_same_command_goes_on(tmp_path, one):
    with cluster() as (scheduler, address):
        process = launched(tmp_path, address)
        at_work(tmp_path)
        scheduler.kill()
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and f"the scheduler at {address} has gone" in said, said
    assert "Traceback" not in said
    with cluster() as (_, address):
        process = launched(tmp_path, address)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert compared(tmp_path) == one


@pytest.mark.rare
def test_a_sweep_that_is_asked_to_stop_saves_its_state(tmp_path, one):
    with cluster() as (_, address):
        process = launched(tmp_path, address)
        at_work(tmp_path)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 75 and said.count("interrupted; the state is saved") == 1, said
        assert not held_claims(tmp_path)
        process = launched(tmp_path, address)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert compared(tmp_path) == one
