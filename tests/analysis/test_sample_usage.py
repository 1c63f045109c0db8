import pytest

from seqfinal_jax.analysis.figures import sample_usage as usage
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.results.run_folder import RunFolderError
from tests.analysis.run_folders import make_run_folder, write_table
from tests.analysis.test_figures import assert_is_drawn

METHOD = "joint_nearest_neighbors_loss"
OTHER = "joint_increasing_optimal_matching_loss"


@pytest.fixture
def matched(tmp_path):
    """Two methods, two architectures; the first architecture of one of them lacks the first seed."""
    cells = {
        (method, f"convnet-{blocks}", seed): 0.5
        for method in (METHOD, OTHER, "joint")
        for blocks in (1, 2)
        for seed in (3, 7)
    }
    run = make_run_folder(tmp_path / "run", cells, (METHOD, OTHER, "joint"), (3, 7))
    for cell in done_cells(run):
        if cell.method != "joint":
            rows = [(0, 0, 5), (0, 1, 1), (0, cell.seed, 1), (1, 1, 4)]
            write_table(cell.path, "sample_usage.csv", "step,times_used,samples", rows)
    (run / f"cells/{METHOD}/convnet-1/seed3/sample_usage.csv").unlink()
    return run


def test_one_figure_a_method_of_its_first_seed(matched, monkeypatch):
    asked = []
    monkeypatch.setattr(usage, "usage_figure", lambda *arguments: asked.append(arguments) or arguments[1])
    paths = usage.sample_usage(matched)
    names = [f"sample_usage_{OTHER}.png", f"sample_usage_{METHOD}.png"]
    assert sorted(path.name for path in paths) == names
    for counts, _, title in asked:
        assert [step.tolist() for step in counts] == [[0, 0, 0, 0, 0, 1, 3], [1, 1, 1, 1]]
        assert title.endswith("digits_rcl, seed 3")
    assert {title.split(":")[0] for *_, title in asked} == {
        "Use of the training samples by nearest neighbours",
        "Use of the training samples by optimal matching",
    }


def test_the_figures_are_drawn(matched):
    for path in usage.sample_usage(matched):
        assert_is_drawn(path, 900, 400)


def test_a_damaged_file_is_named(matched):
    path = matched / f"cells/{OTHER}/convnet-1/seed3/sample_usage.csv"
    path.write_text("step,times_used,samples\n0,0.5,3\n")
    with pytest.raises(
        RunFolderError, match=r"seed3.sample_usage.csv should have whole numbers from 0 as times_used"
    ):
        usage.sample_usage(matched)
