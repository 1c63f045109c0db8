from pathlib import Path

import pytest

from tests.analysis.run_folders import make_run_folder

# Worked by hand: mean 0.6 and sample standard deviation 0.1; mean 0.7 and sqrt(2 * 0.05^2) = 0.0707.
ACCURACIES = {
    ("erm_final", "convnet-1", 0): 0.5,
    ("erm_final", "convnet-1", 1): 0.6,
    ("erm_final", "convnet-1", 2): 0.7,
    ("erm_fine_tune", "convnet-1", 0): 0.65,
    ("erm_fine_tune", "convnet-1", 1): 0.75,
    ("erm_fine_tune", "convnet-1", 2): None,
    ("oracle", "convnet-1", 0): 0.875,
    ("erm_all", "convnet-2", 0): None,
    ("erm_all", "convnet-10", 0): 0.25,
}


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """Done, failed and missing cells; the methods of the configuration lack none of the five."""
    return make_run_folder(tmp_path / "run", ACCURACIES)
