"""CIFAR-10: rotation, then corruption, then a label flip (RCL), the sequence of the published main table.

Command   python -m seqfinal_jax.main --config=configs/cifar10_rcl.py --data_dir=DIR
Hardware  TBD
Time      TBD
Result    TBD
"""

from ml_collections import ConfigDict

from seqfinal_jax.config import apply_presets, base_config


def get_config(presets: str = "") -> ConfigDict:
    """The published sizes; presets by comma: released, corrected, quick, smoke."""
    config = base_config(
        name="cifar10_rcl",
        dataset="cifar10",
        shifts="rotation:corruption:label_flip",
        source_size=6000,
        target_sizes=(4000, 6000, 4000),
        test_size=5000,
        oracle_size=20000,
    )
    return apply_presets(config, presets)
