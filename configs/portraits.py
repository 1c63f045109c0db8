"""Portraits: photographs of American yearbooks by decade, 1930s to 2000s; eight steps, no oracle.

Command   python -m seqfinal_jax.main --config=configs/portraits.py --data_dir=DIR
Data      a folder with the upstream folders M and F, the prepared layout time0 to time7, or the upstream archive. These
          readers were tested on made-up photographs; they have never met the real archive.
Hardware  2 CPU cores, with the preset quick
"""

from ml_collections import ConfigDict

from seqfinal_jax.config import apply_presets, base_config


def get_config(presets: str = "") -> ConfigDict:
    """The split is drawn once with the published seed; presets by comma: released, corrected, quick, smoke."""
    config = base_config(name="portraits", dataset="portraits")
    config.data.split_seed = 1007
    return apply_presets(config, presets)
