"""CIFAR-10: rotation, then corruption, then a label flip (RCL), the sequence of the published main table.

Command   python -m seqfinal_jax.main --config=configs/cifar10_rcl.py --data_dir=DIR
Hardware  2 CPU cores
Time      `:quick`, five methods, 3 seeds: 22 minutes. `:released`, full grid, one seed: `erm_final` 12
          minutes, `erm_fine_tune` 83 (all on cores that had other work at the same time)
Result    in float32 (`--config.precision=highest`): `:quick`, corrected, seeds 0, 1, 1007, test accuracy in %:
          erm_final 40.0 ± 1.7, oracle 46.9 ± 2.0, erm_all 13.9 ± 2.3, erm_all_weighted 21.4 ± 1.1,
          erm_fine_tune 43.4 ± 0.5; `:released`, seed 1007: erm_final 47.4, erm_fine_tune 53.5 (docs/results/README.md)
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
