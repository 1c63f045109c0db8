"""Claims of several processes on one run folder, and which cells each of them does."""

import json
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from seqfinal_jax.runs.claims import Busy, Claims, held_claims
from seqfinal_jax.runs.share import Share, read_part


def another(tmp_path, **fields) -> dict:
    """The claim "stage" of an owner that is alive on another machine, unless `fields` say otherwise."""
    (tmp_path / "claims").mkdir(exist_ok=True)
    owner = {
        "host": "node7",
        "machine": "elsewhere",
        "pid": 1,
        "born": "1",
        "token": "other",
        "what": "final",
    }
    (tmp_path / "claims" / "stage.json").write_text(json.dumps(owner | fields))
    return owner | fields


def test_all_claims_or_none(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)
    with one.hold(["b"]):
        with pytest.raises(Busy), other.hold(["a", "b"]):
            pytest.fail("held twice")
        with one.hold(["a"]):  # which the other has let go of
            assert [claim["name"] for claim in held_claims(tmp_path)] == ["a", "b"]
    with other.hold(["a", "b"], "history convnet-1"):
        assert held_claims(tmp_path)[0]["what"] == "history convnet-1"
    assert held_claims(tmp_path) == []


def test_of_many_threads_one_gets_a_claim(tmp_path):
    inside, most, refused = [], [], []

    def work():
        with Claims(tmp_path, waits=0.01).wait_for("report"):
            inside.append(1)
            try:
                with Claims(tmp_path).hold(["report"]):
                    most.append(len(inside) + 1)
            except Busy:
                refused.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [] and refused == [1] * 8


def test_a_dead_process_of_this_machine_is_followed_at_once(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from seqfinal_jax.runs.claims import Claims\n"
        "held = Claims(Path(sys.argv[1])).hold(['stage']); held.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "claims" / "stage.json").exists()  # it died with its claim
    assert held_claims(tmp_path) == []
    with Claims(tmp_path).hold(["stage"]):
        assert held_claims(tmp_path)[0]["pid"] == os.getpid()


def test_a_process_elsewhere_is_followed_when_it_has_not_stirred_for_long(tmp_path):
    another(tmp_path)
    now = [0.0]
    claims = Claims(tmp_path, stale=100.0, clock=lambda: now[0])
    path = tmp_path / "claims" / "stage.json"
    for beat in range(4):  # it stirs, though its clock is years behind
        os.utime(path, (1000 + beat, 1000 + beat))
        with pytest.raises(Busy), claims.hold(["stage"]):
            pytest.fail("taken from a living process")
        now[0] += 99.0
    with pytest.raises(Busy), claims.hold(["stage"]):
        pytest.fail("taken before its time")
    now[0] += 2.0
    with claims.hold(["stage"]):
        assert held_claims(tmp_path)[0]["pid"] == os.getpid()


def test_a_held_claim_is_touched(tmp_path):
    path, ends = tmp_path / "claims" / "stage.json", time.monotonic() + 60
    with Claims(tmp_path, heartbeat=0.01).hold(["stage"]):
        first = path.stat().st_mtime_ns
        while path.stat().st_mtime_ns == first:
            assert time.monotonic() < ends
            time.sleep(0.01)


def test_a_claim_that_was_taken_over_is_not_removed_by_its_first_owner(tmp_path):
    with Claims(tmp_path).hold(["stage"]):
        another(tmp_path)
    assert json.loads((tmp_path / "claims" / "stage.json").read_text())["token"] == "other"


def test_without_a_folder_for_claims_the_work_goes_on(tmp_path, caplog):
    (tmp_path / "claims").write_text("a file")
    with Claims(tmp_path).hold(["stage"]), Claims(tmp_path).hold(["stage"]):
        pass
    assert "locks cannot be written" in caplog.text


def plan_of(methods, architectures, seeds):
    cells = [(a, m, s) for a in architectures for m in methods for s in seeds]
    return SimpleNamespace(
        methods=methods, architectures=architectures, seeds=seeds, cells=lambda: iter(cells)
    )


def test_shards_are_all_cells_once_and_neighbours_share_stages():
    plan = plan_of(("x", "y", "z"), ("a", "b"), (0, 1))
    parts = [Share(number, 4, shard=True).of(plan) for number in (1, 2, 3, 4)]
    assert sorted(cell for part in parts for cell in part) == sorted(plan.cells())
    assert [{cell[::2] for cell in part} for part in parts] == [
        {("a", 0)},
        {("a", 1)},
        {("b", 0)},
        {("b", 1)},
    ]


def test_a_worker_does_all_cells_from_its_part_on():
    plan = plan_of(("x", "y", "z"), ("a", "b"), (0, 1))
    first, second = (Share(number, 2).of(plan) for number in (1, 2))
    assert sorted(first) == sorted(second) == sorted(plan.cells())
    assert first[6:] + first[:6] == second
    assert Share().of(plan) == list(plan.cells())


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "a/b", "1/", "-1/2"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"--shard: expected i/n with i from 1 to n"):
        read_part("shard", text)


def start(workdir, *flags):
    command = [sys.executable, "-m", "seqfinal_jax.main", "--config=configs/digits_rcl.py:smoke"]
    fields = ["--config.methods=erm_final,erm_fine_tune", "--config.seeds=0,"]
    return subprocess.Popen(
        [*command, *fields, f"--workdir={workdir}", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(processes):
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors


def stages_of_seeds(workdir):
    timing = pd.read_csv(workdir / "timing.csv")
    return sorted((row.fingerprint, seed) for row in timing.itertuples() for seed in str(row.seeds).split())


@pytest.mark.slow
def test_shards_in_one_folder_do_everything_once_with_the_same_bytes(tmp_path):
    """Several plain processes in one folder are in tests/test_sweep.py."""
    one, shards = tmp_path / "one", tmp_path / "shards"
    finished([start(one)])
    finished([start(shards, f"--shard={number}/2") for number in (1, 2)])
    assert (shards / "results.csv").read_bytes() == (one / "results.csv").read_bytes()
    assert stages_of_seeds(shards) == stages_of_seeds(one)
    assert not list((shards / "claims").iterdir())
