"""A run folder cannot lie: what does not belong together is refused, what is damaged is made anew, nothing is lost."""

import json
import os
import re

import jax
import numpy as np
import pandas as pd
import pytest

import seqfinal_jax
from seqfinal_jax.analysis.tables.results_table import results_table
from seqfinal_jax.data.base.sources import DATASETS
from seqfinal_jax.results.checkpoints import SaveBudget
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, cell_file, cell_folders, read_result
from seqfinal_jax.results.sealed import record_digest
from seqfinal_jax.results.store import Store
from seqfinal_jax.runs import execute
from seqfinal_jax.runs import loop as running
from seqfinal_jax.runs import workdir as folders
from seqfinal_jax.runs import write_cells as writing
from tests.runs import run, smoke_config, smoke_run

ONE = {"methods": ("erm_final",), "grid__dropout": (0.0,)}
CELL = "cells/erm_final/convnet-1/seed0"


def results(workdir):
    return {str(p.relative_to(workdir)): p.read_bytes() for p in sorted(workdir.glob("cells/**/*.*"))}


def timing(workdir):
    return pd.read_csv(workdir / "timing.csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Seeds 0 to 2, unbroken."""
    workdir = tmp_path_factory.mktemp("whole")
    smoke_run(workdir, seeds=(0, 1, 2), methods=("erm_fine_tune",), training__max_epochs=4)
    return results(workdir)


# What is lost, or is wrong


@pytest.mark.parametrize(
    ("stage", "then"),
    [
        ("history", (1,)), ("final", (2, 0, 1)),
        *(pytest.param(stage, then, marks=pytest.mark.rare)
          for stage, left_out in (("history", ((0, 1), (1, 2), (2, 0, 1))), ("final", ((0, 1), (1,), (1, 2))))
          for then in left_out),
    ],
)  # fmt: skip
def test_a_fit_whose_first_seed_was_stored_goes_on_with_any_seeds(tmp_path, monkeypatch, whole, then, stage):
    asked = {"methods": ("erm_fine_tune",), "training__max_epochs": 4}
    save = Store.save

    def killed(self, key, seed, result, describe):
        if (describe["stage"]["name"], seed) == (stage, 1):
            raise KeyboardInterrupt
        return save(self, key, seed, result, describe)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Store, "save", killed)
        patched.setattr(SaveBudget, "due", lambda self: True)
        smoke_run(tmp_path, seeds=(0, 1), **asked)
    assert list(tmp_path.glob("stages/*/progress/*"))
    smoke_run(tmp_path, seeds=then, **asked)
    smoke_run(tmp_path, seeds=(0, 1, 2), **asked)
    assert results(tmp_path) == whole


@pytest.mark.parametrize("name", ["b[1]", "a*b?", "{x},y z", "ünïcode"])
def test_no_path_loses_a_model(tmp_path, name):
    workdir = tmp_path / name / "run"
    smoke_run(workdir, **ONE)
    assert seqfinal_jax.load_model(workdir / CELL).class_names[0] == "zero"
    before = timing(workdir)
    (workdir / CELL / "result.json").unlink()
    smoke_run(workdir, **ONE)
    assert timing(workdir).equals(before)  # the stage was read back, not fitted again


def test_other_data_are_refused_and_both_are_named(tmp_path, monkeypatch):
    smoke_run(tmp_path, **ONE)
    load = DATASETS.get("digits")

    def other(data_dir):
        source = load(data_dir)
        images = source.train_images.copy()
        images[0, 0, 0, 0] ^= 1
        return type(source)(**{**vars(source), "train_images": images, "record": {}})

    monkeypatch.setitem(DATASETS._entries, "digits", other)
    before = json.loads((tmp_path / "environment.json").read_text())["data"]["content_sha256"]
    with pytest.raises(
        ValueError, match=f"holds results of other data .*contents {before[:12]} there, .* now"
    ):
        smoke_run(tmp_path, **{**ONE, "seeds": (1,)})


SETTINGS = {
    "x64": lambda: jax.enable_x64(True),
    "random_generator": lambda: jax.default_prng_impl("rbg"),
    "partitionable_generator": lambda: jax.threefry_partitionable(False),
    "dtype_promotion": lambda: jax.numpy_dtype_promotion("strict"),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("removed", [False, True])
def test_other_settings_of_jax_are_refused(name, removed, folder_with_a_cell):
    """Whether the folder's own record of them is there, or the cells' alone."""
    if removed:
        (folder_with_a_cell / "environment.json").unlink(missing_ok=True)
    message = f"results of other settings .*{name} .* there, .* now"
    with SETTINGS[name](), pytest.raises(ValueError, match=message):
        smoke_run(folder_with_a_cell, **{**ONE, "seeds": (1,)})


def test_flags_of_xla_that_change_numbers_are_refused_and_others_are_not(folder_with_a_cell, monkeypatch):
    others = os.environ.get("XLA_FLAGS", "")
    monkeypatch.setenv("XLA_FLAGS", f"{others} --xla_force_host_platform_device_count=2")
    smoke_run(folder_with_a_cell, dry_run=True, **{**ONE, "seeds": (1,)})
    monkeypatch.setenv("XLA_FLAGS", f"{others} --xla_cpu_enable_fast_math=true")
    with pytest.raises(ValueError, match=r"xla_flags '.*' there, '.*--xla_cpu_enable_fast_math=true.*' now"):
        smoke_run(folder_with_a_cell, **{**ONE, "seeds": (1,)})


@pytest.fixture(scope="module")
def folder_with_a_cell(tmp_path_factory):
    """A finished run that the tests leave as it is."""
    workdir = tmp_path_factory.mktemp("one")
    smoke_run(workdir, **ONE)
    return workdir


def test_cells_of_another_machine_are_warned_of_and_named_in_the_caption(tmp_path, monkeypatch, caplog):
    machine = writing.machine()
    with monkeypatch.context() as patched:
        patched.setattr(
            writing, "machine", lambda precision: {**machine, "cpu": "Another CPU", "thread_pool": 99}
        )
        smoke_run(tmp_path, **ONE)
    smoke_run(tmp_path, **{**ONE, "seeds": (0, 1)})
    assert "'Another CPU' there" in caplog.text
    captions = " ".join(results_table(tmp_path).captions)
    assert "cells come from 2 environments: 1 cells with" in captions and "Another CPU" in captions


@pytest.mark.parametrize("name", ["timing.csv", "run.log"])
def test_a_log_that_cannot_be_written_is_a_warning(tmp_path, caplog, name):
    (tmp_path / name).mkdir()
    smoke_run(tmp_path, **ONE)
    assert (tmp_path / CELL / "result.json").exists()
    assert "logged" in caplog.text or "no log is written" in caplog.text


def test_a_state_that_cannot_be_saved_is_a_warning(tmp_path, caplog, monkeypatch):
    from seqfinal_jax.results import checkpoints

    write = checkpoints.write_folder

    def full(folder, *rest):
        if "progress" in folder.parts:
            raise OSError(28, "No space left on device")
        return write(folder, *rest)

    monkeypatch.setattr(checkpoints, "write_folder", full)
    smoke_run(tmp_path, **ONE)
    assert caplog.text.count("cannot be saved") == 1


def test_a_full_disk_ends_the_run_with_its_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(execute, "write_cell", full)
    with pytest.raises(OSError, match="No space left"):
        run(smoke_config(**ONE), tmp_path)


def test_a_cell_that_fails_has_no_result_any_more(tmp_path, monkeypatch):
    smoke_run(tmp_path, **ONE)

    def fails(*_):
        raise RuntimeError("planted")

    monkeypatch.setattr(Store, "has_cell", lambda *_: False)
    monkeypatch.setattr(execute, "write_cell", fails)
    assert run(smoke_config(**ONE), tmp_path) == 1
    assert [path.name for path in (tmp_path / CELL).iterdir()] == ["error.txt"]


def test_stored_logits_give_the_reported_accuracy_however_large_they_are(tmp_path):
    smoke_run(tmp_path, **{**ONE, "grid__learning_rate": (100.0,), "protocol__input_scaling": "raw"})
    cell, result = tmp_path / CELL, json.loads((tmp_path / CELL / "result.json").read_text())
    stored = np.load(cell / "predictions.npz")
    assert stored["test_logits"].dtype == np.float32
    for split in ("valid", "test"):
        right = stored[f"{split}_logits"].argmax(-1) == stored[f"{split}_labels"]
        assert right.mean() == pytest.approx(result[f"{split}_accuracy"], abs=1e-12)


@pytest.mark.parametrize("name", ["result.json", "grid.csv", "history.csv", "predictions.npz"])
def test_a_damaged_cell_is_refused_by_readers_and_made_anew(tmp_path, caplog, name):
    smoke_run(tmp_path, **ONE)
    before, path = results(tmp_path), tmp_path / CELL / name
    harm(path)
    with pytest.raises(RunFolderError, match=r"failed its checksum|cannot be read"):
        cell_file(CellFolder(tmp_path / CELL, "erm_final", "convnet-1", 0), name)
    smoke_run(tmp_path, **ONE)
    assert "a cell is damaged and is computed again" in caplog.text
    assert results(tmp_path) == before and len(timing(tmp_path)) == 1


def harm(path):
    """Turns one digit of a text into another, one byte of an archive."""
    if path.suffix == ".npz":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    else:
        text = path.read_text()
        place = (
            re.search(r'": [0-8]|,[0-8]', text).end() - 1
        )  # a leading digit: the last one may be beyond rounding
        path.write_text(text[:place] + str(int(text[place]) + 1) + text[place + 1 :])


@pytest.mark.parametrize("name", ["meta.json", "arrays.npz", "grid.csv", "history.csv"])
def test_a_damaged_stage_is_fitted_again(tmp_path, caplog, name):
    smoke_run(tmp_path, **ONE)
    before = results(tmp_path)
    harm(next(tmp_path.glob(f"stages/*/seed0/{name}")))
    (tmp_path / CELL / "result.json").unlink()
    smoke_run(tmp_path, **ONE)
    assert "damaged" in caplog.text
    assert results(tmp_path) == before and len(timing(tmp_path)) == 2


def test_another_choice_in_a_stage_is_damage(tmp_path, caplog):
    smoke_run(tmp_path, methods=("erm_final",))
    path = next(tmp_path.glob("stages/*/seed0/meta.json"))
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "chosen": 1 - record["chosen"]}))
    before = results(tmp_path)
    (tmp_path / CELL / "result.json").unlink()
    smoke_run(tmp_path, methods=("erm_final",))
    assert "damaged" in caplog.text and results(tmp_path) == before


# Errors, starts and versions


def test_the_first_error_of_a_fit_is_reported_and_the_fit_is_not_repeated(tmp_path, monkeypatch, caplog):
    from seqfinal_jax.methods.stages import compute

    calls = []

    def fails(*_):
        calls.append(1)
        raise RuntimeError(f"planted {len(calls)}")

    monkeypatch.setattr(compute, "fit", fails)
    config = smoke_config(methods=("erm_final", "erm_fine_tune"), seeds=(0, 1, 2))
    assert run(config, tmp_path) == 6
    assert len(calls) == 2  # one a stage: final, and the history
    texts = [path.read_text() for path in sorted(tmp_path.glob("cells/erm_final/*/*/error.txt"))]
    assert len(texts) == 3 and all("planted 1" in text for text in texts)


@pytest.mark.parametrize("fields", [{"data__source_size": 5000}, {"data__test_size": 5000}])
def test_a_dry_run_refuses_what_the_run_refuses_and_a_failed_start_leaves_nothing(tmp_path, fields):
    for dry_run in (True, False):
        with pytest.raises(ValueError, match="at most"):
            smoke_run(tmp_path / "run", dry_run=dry_run, **ONE, **fields)
    assert not (tmp_path / "run").exists()
    smoke_run(tmp_path / "run", **ONE)


def test_a_dry_run_refuses_another_configurations_folder(folder_with_a_cell):
    with pytest.raises(ValueError, match=r"training\.patience: 5 there, 3 now"):
        smoke_run(folder_with_a_cell, dry_run=True, training__patience=3, **ONE)


def test_a_folder_without_results_takes_the_corrected_configuration(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(running, "execute", killed)
        smoke_run(tmp_path, training__patience=3, **ONE)
    smoke_run(tmp_path, **ONE)
    assert json.loads((tmp_path / "config.json").read_text())["training"]["patience"] == 5


def test_a_field_that_a_later_version_added_does_not_make_another_configuration(tmp_path):
    smoke_run(tmp_path, **ONE)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["training"]["train_metrics"], config["plugins"]
    path.write_text(json.dumps(config))
    assert "Nothing to do: the only cell is complete." in smoke_run(tmp_path, **ONE)
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="train_metrics: 'running' there, 'eval' now"):
        smoke_run(tmp_path, training__train_metrics="eval", **ONE)


def test_a_field_that_changes_no_cell_does_not_make_another_configuration(folder_with_a_cell):
    for idle in ({"joint_grid__adjacent": (0.3,)}, {}):
        assert "Nothing to do" in smoke_run(folder_with_a_cell, **ONE, **idle)
    (folder_with_a_cell / "cells/joint/convnet-1/seed0").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"joint_grid\.adjacent: \[0.1\] there, \[0.3\] now"):
        smoke_run(folder_with_a_cell, **ONE, joint_grid__adjacent=(0.3,))


@pytest.mark.parametrize(
    ("record", "word"),
    [({}, "an earlier"), ({"folder_format": 2}, "an earlier"), ({"folder_format": 99}, "a later")],
)
def test_a_folder_of_another_version_is_read_but_not_added_to(tmp_path, record, word):
    smoke_run(tmp_path, **ONE)
    path = tmp_path / "environment.json"
    there = json.loads(path.read_text())
    path.write_text(json.dumps({**{n: v for n, v in there.items() if n not in folders.made_by()}, **record}))
    before = results(tmp_path)
    with pytest.raises(ValueError, match=f"was made by {word} version"):
        smoke_run(tmp_path, **{**ONE, "seeds": (0, 1)})
    assert results(tmp_path) == before
    assert results_table(tmp_path).entries["erm_final", "convnet-1"].done == 1


def test_a_stage_of_another_format_is_never_overwritten(tmp_path):
    smoke_run(tmp_path, **ONE)
    (tmp_path / CELL / "result.json").unlink()
    path = next(tmp_path.glob("stages/*/seed0/meta.json"))
    record = json.loads(path.read_text()) | {"format": 99}
    path.write_text(json.dumps(record | {"seal": record_digest(record)}))
    before = path.read_bytes()
    assert run(smoke_config(**ONE), tmp_path) == 1
    assert "has format 99" in (tmp_path / CELL / "error.txt").read_text()
    assert path.read_bytes() == before


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    smoke_run("~/run", **ONE)
    assert (tmp_path / "run" / CELL).is_dir()
    assert seqfinal_jax.load_model(f"~/run/{CELL}").class_names


# Memory


def test_only_the_stages_asked_for_last_stay_in_memory(tmp_path, monkeypatch):
    stores = []
    made = Store.__init__

    def kept(self, workdir):
        made(self, workdir)
        stores.append(self)

    monkeypatch.setattr(Store, "__init__", kept)
    smoke_run(tmp_path, methods=("sequential_ewc",), grid__dropout=(0.0,))
    held = [list(each.recent.values()) for each in stores]
    assert max(map(len, held)) == 2
    assert all(result.last == {} for each in held for many in each for result in many.values())


def test_minibatches_are_padded_to_the_set_where_it_is_smaller(tmp_path):
    from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, shuffled

    stream = Stream(0, np.arange(180))
    batches = epoch_batches([stream], shuffled(0, "final"), 1, 20_000)
    assert batches.index.shape[-1] == 180 and batches.count == 1 and batches.mask is None
    assert sorted(batches.index[0, 0]) == list(range(180))
    assert EvaluationSet(0, np.arange(45)).batches(20_000).index.shape[-1] == 45
    smoke_run(tmp_path, **ONE, training__batch_size=20_000)


def test_the_precision_is_written_down_and_another_one_is_refused(tmp_path):
    """Cells, results.csv and the table name it. An empty one, of an earlier version, is that of its protocol."""
    smoke_run(tmp_path, **ONE, precision="bfloat16")
    assert json.loads((tmp_path / "config.json").read_text())["precision"] == "bfloat16"
    assert next(read_result(cell)["precision"] for cell in cell_folders(tmp_path)) == "bfloat16"
    table = results_table(tmp_path)
    assert list(table.cells["precision"]) == ["bfloat16"]
    assert "precision of layers: bfloat16" in table.captions
    for stored in ("bfloat16", ""):
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "precision": stored}))
        with pytest.raises(ValueError, match=r"precision: 'bfloat16' there, 'highest' now"):
            smoke_run(tmp_path, **ONE)
    smoke_run(tmp_path, **ONE, precision="bfloat16")
