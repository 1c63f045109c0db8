"""Your own images in time steps: STEP/CLASS/IMAGE, YEAR/MONTH/CLASS/IMAGE, or one .npz file (docs/own_data.md).

Command   python -m seqfinal_jax.main --config=configs/own_data.py --data_dir=DIR
Hardware  2 CPU cores, with the preset quick where there are thousands of images
"""

from ml_collections import ConfigDict

from seqfinal_jax.config import apply_presets, base_config


def get_config(presets: str = "") -> ConfigDict:
    """Final step alone, pooled, two ways of adapting, and both controls; six seeds; presets by comma: quick, smoke."""
    config = base_config(name="own_data", dataset="own_data")
    config.methods = (
        "erm_final", "erm_final_long", "erm_all", "erm_fine_tune", "linear_probe", "erm_linear_probe_fine_tune",
    )  # fmt: skip
    if "quick" in map(str.strip, presets.split(",")):  # `released` and `smoke` have budgets of their own
        config.training.update({"least_updates": 350, "patience_updates": 100})
    config.seeds = (0, 1, 2, 3, 4, 5)  # fewer cannot support a claim
    config.precision = "highest"  # a fit of some tens of images learns less in bfloat16 (docs/performance.md)
    return apply_presets(config, presets)
