"""CIFAR-10: every image gets redder by 30 per step.

Command   python -m seqfinal_jax.main --config=configs/cifar10_recolor.py --data_dir=DIR
Hardware  2 CPU cores or a GPU
Time      not measured; the sizes are those of cifar10_rcl, so about its time
Result    not run in full yet
"""

from ml_collections import ConfigDict

from seqfinal_jax.config import apply_presets, base_config


def get_config(presets: str = "") -> ConfigDict:
    """The published sizes; presets by comma: released, corrected, quick, smoke."""
    config = base_config(
        name="cifar10_recolor",
        dataset="cifar10",
        shifts="recolor:recolor:recolor",
        source_size=6000,
        target_sizes=(4000, 6000, 4000),
        test_size=5000,
        oracle_size=20000,
    )
    return apply_presets(config, presets)
