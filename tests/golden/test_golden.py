"""The reference arrays pass, and the checker notices what does not."""

import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.golden import __main__ as command
from tests.golden.case import find_check, reference_files

HERE = Path(__file__).parent
WHOLE_SET = os.environ.get("SEQFINAL_GOLDEN_DIR")
# The large networks take minutes to compile: `python -m tests.golden FOLDER` checks them too.
SLOW = re.compile(
    r"reference_numbers.*|objective_densenet.*|base_(resnet[134]|densenet[14])_.*|base_resnet1_c2.*|"
    r"(side|lowrank|joint)_densenet.*|(side|lowrank)_resnet2_(?!8|add_r3).*|lowrank_convnet2_(?!add_r1_noale_T3_partial).*"
)


@pytest.fixture(autouse=True)
def double_precision():
    precision = jax.config.jax_default_matmul_precision
    yield
    jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_default_matmul_precision", precision)


@pytest.mark.parametrize("path", list(reference_files(HERE, None)), ids=lambda path: path.stem)
def test_reference_file(path, capsys):
    assert command.run(path.parent, path.name) == 0, capsys.readouterr().out


@pytest.mark.skipif(
    not WHOLE_SET, reason="SEQFINAL_GOLDEN_DIR does not name the whole set of reference arrays"
)
def test_the_files_of_the_whole_set_that_are_built_and_quick(capsys):
    here = {path.name for path in reference_files(HERE, None)}
    paths = [
        p
        for p in reference_files(Path(WHOLE_SET), None)
        if find_check(p.name) and p.name not in here and not SLOW.match(p.name)
    ]
    assert paths, f"no reference file below {WHOLE_SET} was recognised"
    for path in paths:
        assert command.run(path.parent, path.name) == 0, capsys.readouterr().out


def altered(tmp_path, name, **changes):
    with np.load(HERE / name) as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(tmp_path / name, **{**arrays, **changes})


def test_a_wrong_number_fails(tmp_path, capsys):
    altered(tmp_path, "weighted_loss.npz", loss=np.asarray(1.05))
    assert command.run(tmp_path, None) == 1
    assert "weighted_loss.npz  loss  0.000625  1e-10  FAILED" in capsys.readouterr().out


def test_a_key_that_no_check_uses_fails(tmp_path, capsys):
    altered(tmp_path, "weighted_loss.npz", surplus=np.zeros(1))
    assert command.run(tmp_path, None) == 1
    assert "keys that no check used: surplus" in capsys.readouterr().out


def test_a_file_of_a_kind_that_is_not_built_fails(tmp_path, capsys):
    shutil.copy(HERE / "time_weights.npz", tmp_path / "time_weights.npz")
    assert command.run(tmp_path, None) == 0
    shutil.copy(HERE / "time_weights.npz", tmp_path / "another.npz")
    assert command.run(tmp_path, None) == 1
    assert "another.npz  not built yet" in capsys.readouterr().out


def test_an_empty_folder_fails(tmp_path):
    assert command.run(tmp_path, None) == 1


def test_a_broken_file_does_not_hide_the_others(tmp_path, capsys):
    (tmp_path / "early_stop.npz").write_bytes(b"not an archive")
    shutil.copy(HERE / "time_weights.npz", tmp_path)
    assert command.run(tmp_path, None) == 1
    said = capsys.readouterr().out
    assert "early_stop.npz  raised" in said and "time_weights.npz  T9  0  1e-10  ok" in said


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(SystemExit) as error:
        command.main([str(tmp_path / "missing")])
    assert error.value.code == 2
