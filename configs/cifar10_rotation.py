"""CIFAR-10 rotated by 30 degrees per step, for 2 to 8 time steps (source included).

Command   python -m seqfinal_jax.main --config=configs/cifar10_rotation.py:N[,PRESETS] --data_dir=DIR
          N is the number of time steps, for example configs/cifar10_rotation.py:5,quick
Hardware  2 CPU cores or a GPU
Time      not measured; about that of cifar10_rcl
Result    not run in full yet
"""

from ml_collections import ConfigDict

from seqfinal_jax.config import apply_presets, base_config

# The published sizes by number of time steps: source, then targets.
SIZES = {
    2: (16000, (4000,)),
    3: (10000, (6000, 4000)),
    4: (6000, (4000, 6000, 4000)),
    5: (4000, (4000,) * 4),
    6: (4000, (3000, 3000, 3000, 3000, 4000)),
    7: (4000, (2000, 3000, 2000, 3000, 2000, 4000)),
    8: (4000, (2000,) * 6 + (4000,)),
}


def get_config(argument: str = "4") -> ConfigDict:
    """`argument` is N and presets by comma, N first; raises ValueError for another N."""
    steps, _, presets = argument.partition(",")
    if steps.strip() not in map(str, SIZES):
        raise ValueError(
            f"configs/cifar10_rotation.py:{argument}: expected a number of time steps 2..8 behind the colon, "
            f"then presets by comma, for example cifar10_rotation.py:5,quick"
        )
    source_size, target_sizes = SIZES[int(steps)]
    config = base_config(
        name=f"cifar10_rotation-{int(steps)}",
        dataset="cifar10",
        shifts=":".join(["rotation"] * (int(steps) - 1)),
        source_size=source_size,
        target_sizes=target_sizes,
        test_size=5000,
        oracle_size=20000,
    )
    return apply_presets(config, presets)
