"""Which methods have a model of every time step: what their stages were trained on says it, not how many they are."""

from types import SimpleNamespace

import pytest

from seqfinal_jax.analysis import steps
from seqfinal_jax.results.run_folder import CellFolder


def models_of(monkeypatch, tmp_path, stages, networks=(1,)):
    """The names of the models; stages are (role, steps of the training), networks the numbers of their steps."""
    result = {"stages": [{"role": role, "train_steps": list(trained)} for role, trained in stages]}
    passed = [role for role, _ in stages if role != steps.PROBE]
    if len(passed) == 1 and networks[0] > 1:
        passed = [f"step {t}" for t in range(networks[0])]
    models = [SimpleNamespace(name=n, network=SimpleNamespace(num_steps=networks[0])) for n in passed]
    monkeypatch.setattr(steps, "read_result", lambda cell: result)
    monkeypatch.setattr(steps, "passed_models", lambda cell: models)
    return [model.name for model in steps.models_of_steps(CellFolder(tmp_path, "mine", "convnet-1", 0))]


@pytest.mark.parametrize(
    ("stages", "networks", "expected"),
    [
        ([("a", [0]), ("b", [1]), ("c", [2])], (1,), ["a", "b", "c"]),
        ([("history", [0, 1]), ("tune", [2]), ("average", [2])], (1,), []),  # three stages of three steps
        ([("a", [0]), ("b", [1]), ("c", [1]), ("d", [2])], (1,), ["a", "c", "d"]),  # the last one of a step
        ([("a", [0]), ("probe", [1]), ("b", [1])], (1,), ["a", "b"]),
        ([("a", [0]), ("c", [2])], (1,), []),
        ([("final", [2])], (1,), []),
        ([("joint", [0, 1, 2])], (3,), ["step 0", "step 1", "step 2"]),
        ([("all", [0])], (1,), []),
    ],
)
def test_stages_by_what_they_were_trained_on(monkeypatch, tmp_path, stages, networks, expected):
    assert models_of(monkeypatch, tmp_path, stages, networks) == expected
