"""Rotation, corruption, label flip on scikit-learn's digits: the quick start, no download.

Command   python -m seqfinal_jax.main --config=configs/digits_rcl.py
Hardware  2 CPU cores
Time      2 minutes with an empty cache
Result    corrected, seeds 0 to 5, test accuracy in %: erm_final 73.1 ± 2.0, erm_final_long 71.6 ± 5.1, oracle
          90.3 ± 2.5, erm_all 13.0 ± 4.3, erm_fine_tune 73.1 ± 3.8, linear_probe 87.4 ± 1.7,
          erm_linear_probe_fine_tune 86.7 ± 1.3: history helps, and it matters how it is used. Pooling learns the
          labels from before the flip; fine-tuning all layers loses the features that a new head alone keeps.
"""

from ml_collections import ConfigDict

from seqfinal_jax.config import apply_presets, base_config


def get_config(presets: str = "") -> ConfigDict:
    """Seven methods, a narrow network, one grid point, six seeds; only 60 samples at the final step."""
    config = base_config(
        name="digits_rcl",
        dataset="digits",
        shifts="rotation:corruption:label_flip",
        source_size=500,
        target_sizes=(250, 250, 60),
        test_size=500,
        oracle_size=1000,
    )
    config.methods = (
        "erm_final", "erm_final_long", "oracle", "erm_all", "erm_fine_tune", "linear_probe",
        "erm_linear_probe_fine_tune",
    )  # fmt: skip
    config.seeds = (0, 1, 2, 3, 4, 5)
    config.precision = "highest"  # a fit of some tens of images learns less in bfloat16 (docs/performance.md)
    config.network.width_factor = 0.25
    config.grid.learning_rate = (1e-2,)
    config.grid.weight_decay = (1e-4,)
    config.grid.dropout = (0.0,)
    config.training.batch_size = 10
    config.training.update({"max_epochs": 30, "patience": 10, "least_updates": 1000, "patience_updates": 400})
    return apply_presets(config, presets)
