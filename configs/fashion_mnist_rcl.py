"""Fashion-MNIST: rotation, then corruption, then a label flip (RCL), at the published sizes.

Command   python -m seqfinal_jax.main --config=configs/fashion_mnist_rcl.py [--data_dir=DIR]
Data      four IDX files, sought in DIR, DIR/fashion-mnist and /usr/share/datasets/fashion-mnist (Debian's package
          dataset-fashion-mnist); without them TensorFlow Datasets downloads
Hardware  2 CPU cores, with the preset quick
Result    in float32 (`--config.precision=highest`): `:quick`, corrected, seed 0 (n = 1), test accuracy in %:
          erm_final 75.2, oracle 80.7, erm_all 26.0, erm_fine_tune 77.1, erm_linear_probe_fine_tune 76.1,
          sequential_ewc 76.6, joint 74.3 (docs/results/README.md)
"""

from ml_collections import ConfigDict

from seqfinal_jax.config import apply_presets, base_config


def get_config(presets: str = "") -> ConfigDict:
    """Grey images of 28x28; presets by comma: released, corrected, quick, smoke."""
    config = base_config(
        name="fashion_mnist_rcl",
        dataset="fashion_mnist",
        shifts="rotation:corruption:label_flip",
        source_size=6000,
        target_sizes=(4000, 6000, 4000),
        test_size=5000,
        oracle_size=20000,
    )
    config.input_mean, config.input_std = (0.449,), (0.226,)
    return apply_presets(config, presets)
