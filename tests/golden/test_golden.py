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
from tests.golden.joint_names import plain_network, side_of

HERE = Path(__file__).parent
WHOLE_SET = os.environ.get("SEQFINAL_GOLDEN_DIR")
# What takes more than seconds to compile is left to `python -m tests.golden FOLDER`.
QUICK = re.compile(r"(base_convnet|base_.*micro|interp_convnet|train_|lr_decay|fit_sep_none).*")


@pytest.fixture(autouse=True)
def double_precision():
    precision = jax.config.jax_default_matmul_precision
    yield
    jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_default_matmul_precision", precision)


# Of these each compiles for 5 s or more.
LONG = (
    "objective_convnet", "param_counts", "side_resnet_1conv_all", "side_convnet_block_all", "irm_penalty", "fisher_epoch",
    "interpolation_joint", "fit_frozen_side",
)  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in LONG else ())
        for path in reference_files(HERE, None)
    ],
)
def test_reference_file(path, capsys):
    assert command.run(path.parent, path.name) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(
    not WHOLE_SET, reason="SEQFINAL_GOLDEN_DIR does not name the whole set of reference arrays"
)
def test_the_files_of_the_whole_set_that_are_built_and_quick(capsys):
    here = {path.name for path in reference_files(HERE, None)}
    paths = [
        p
        for p in reference_files(Path(WHOLE_SET), None)
        if find_check(p.name) and p.name not in here and QUICK.match(p.name)
    ]
    assert paths, f"no reference file below {WHOLE_SET} was recognised"
    for path in paths:
        assert command.run(path.parent, path.name) == 0, capsys.readouterr().out
        jax.clear_caches()


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


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("side_convnet_block_all.npz", "side_of_another_name.npz"),
        ("train_erm_only_fc.npz", "train_erm_of_another_name.npz"),
    ],
)
def test_a_files_name_chooses_the_check_and_tells_nothing_else(tmp_path, here, there, capsys):
    shutil.copy(HERE / here, tmp_path / there)
    assert command.run(tmp_path, None) == 0, capsys.readouterr().out


def made_up(**shapes):
    return {name.replace("__", "/"): np.zeros(shape) for name, shape in shapes.items()}


ENDS = {"stem__conv__kernel": (9, 1, 7, 7), "head__linear__kernel": (4, 8)}


def test_sizes_are_read_from_the_arrays():
    images = np.zeros((2, 1, 12, 20))
    convnet = plain_network(
        made_up(**ENDS, block0__conv__kernel=(6, 9, 3, 3), block1__conv__kernel=(7, 6, 3, 3),
                block2__conv__kernel=(8, 7, 3, 3)),
        images,
    )  # fmt: skip
    assert (convnet.name, convnet.num_classes) == ("convnet-3", 4)
    assert convnet.config.image_shape == (12, 20, 1) and convnet.config.stem_width == 9
    assert (convnet.config.widths, convnet.config.strides) == ((6, 7, 8), (1, 2, 2))
    blocks = {f"block0__unit{unit}__conv_{part}__kernel": (5, 5, 3, 3) for unit in range(3) for part in "ab"}
    heights = {"stem": np.zeros((2, 9, 8, 8)), "block0": np.zeros((2, 5, 4, 4))}
    resnet = plain_network(made_up(**ENDS, **blocks), images, heights)
    assert (resnet.name, resnet.config.units, resnet.config.strides) == (
        "resnet-1",
        3,
        (),
    )  # the stride is the preset's
    layers = {f"block0__dense{k}__conv_b__kernel": (16, 64, 3, 3) for k in range(4)}
    densenet = plain_network(made_up(**ENDS, **layers), images)
    assert (densenet.name, densenet.config.dense_layers) == ("densenet-1", (4,))
    assert densenet.config.width_factor == 0.5


def test_side_modules_are_read_from_the_arrays():
    convolutions = {
        "t1__block0__side_conv0__kernel": (7, 4, 3, 3),
        "t1__block0__side_conv1__kernel": (4, 7, 3, 3),
    }
    assert side_of(made_up(**convolutions)) == (7,)
    assert side_of(made_up(t1__block0__side_conv0__kernel=(4, 4, 3, 3))) == ()
    assert side_of(made_up(t1__block0__conv__kernel=(6, 4, 3, 3))) == "block"
