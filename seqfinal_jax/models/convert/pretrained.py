"""Start of a four-block ResNet from ImageNet weights: a local file with torchvision's ResNet-18 state dictionary.

Files are .npz or .safetensors (`pip install safetensors`). A .pth file, as torchvision gives it, is a pickle, which may
run code when it is read, so it has to be converted once, where PyTorch is installed:

    python -c "import torch, numpy; numpy.savez('resnet18.npz', **{k: v.detach().numpy() for k, v in
        torch.load('resnet18.pth', map_location='cpu', weights_only=True).items()})"

Of the 122 entries 100 are used: kernels and batch norms of the stem and of the four blocks. The head
(`fc.*`) and the counters (`*.num_batches_tracked`) are skipped.
"""

import os
import zipfile
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models.convert.from_torch import State, check_names, to_trees, torch_shapes
from seqfinal_jax.models.families.architectures import build_network
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.records.digests import file_digest

PathLike = str | os.PathLike[str]
PICKLES = (".pth", ".pt", ".pickle", ".pkl")
# Parts of names where torchvision's ResNet-18 differs from ours (canonical, then torchvision's).
RENAMED = (
    ("conv1.conv.", "conv1."),
    ("conv1.bn.", "bn1."),
    (".downsample.conv.", ".downsample.0."),
    (".downsample.bn.", ".downsample.1."),
)


def start_from_resnet18(network: Network, variables: Variables, path: PathLike) -> Variables:
    """Variables of a `resnet-4` of preset widths with the file's weights in all groups but `fc`, which stays.

    New dictionaries are returned; dtypes are those of `variables`. Raises ValueError for another network, and for a
    file that `read_resnet18` refuses.
    """
    check_network(network)
    start: Variables = {}
    for kind, groups in read_resnet18(path).items():
        old = {group: variables[kind][group] for group in groups}
        new = jax.tree.map(lambda leaf, array: jnp.asarray(array, leaf.dtype), old, groups)
        start[kind] = {**variables[kind], **new}
    return start


def read_resnet18(path: PathLike) -> Variables:
    """Parameters and running statistics of the groups conv1, layer1, ..., layer4; float32, in our layouts.

    Raises ValueError for a file that is missing, damaged, a pickle, of another kind, or without the library to read
    it, and for missing, surplus and mis-shaped entries, all by torchvision's names.
    """
    found = {key: array for key, array in read_arrays(Path(path)).items() if not is_skipped(key)}
    shapes = group_shapes(build_network("resnet-4", 2))
    check_names(
        f"torchvision's ResNet-18 (file {path})",
        found,
        {torchvision_name(name): shape for name, shape in shapes.items()},
    )
    whole = [key for key, array in found.items() if not jnp.issubdtype(array.dtype, jnp.floating)]
    if whole:
        raise ValueError(f"{path}: {whole[0]} holds {found[whole[0]].dtype}, expected floating-point numbers")
    return to_trees({name: found[torchvision_name(name)].astype(np.float32) for name in shapes})


def is_skipped(key: str) -> bool:
    """Whether an entry is of no use here: the head of 1000 classes, and batch norm's counters."""
    return key.startswith("fc.") or key.endswith(".num_batches_tracked")


def torchvision_name(name: str) -> str:
    """torchvision's key of a canonical name."""
    for ours, theirs in RENAMED:
        name = name.replace(ours, theirs)
    return name


def group_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Canonical names and PyTorch's shapes of all groups but the head."""
    shapes = torch_shapes(network.shapes)
    return {name: shape for name, shape in shapes.items() if not name.startswith("fc.")}


def check_network(network: Network) -> None:
    """Raises ValueError unless the network's groups have a ResNet-18's shapes; strides and image size are free."""
    fits = network.name == "resnet-4" and group_shapes(network) == group_shapes(build_network("resnet-4", 2))
    if not fits:
        raise ValueError(
            f"a start from ResNet-18 needs the architecture resnet-4 with its preset widths, 2 units per block and 3 "
            f"channels; found {network.name} with {network.config}"
        )


def read_arrays(path: Path) -> State:
    """All arrays of a .npz or .safetensors file by name; errors as in `read_resnet18`."""
    check_file(path)
    return _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)


def check_file(path: Path) -> None:
    """Raises ValueError unless the path is a file of a kind that can be read."""
    if path.suffix in PICKLES:
        raise ValueError(
            f"{path} is a pickle, which may run code when it is read; convert it once where PyTorch is installed:\n"
            f"{conversion(path)}"
        )
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"{path}: weights are read from .npz and .safetensors files, found {path.suffix!r}")
    if not path.is_file():
        raise ValueError(f"there is no file {path}; ResNet-18 weights are not downloaded, give a local file")


def conversion(path: Path) -> str:
    """The command that converts a pickled state dictionary to a .npz file in the same folder."""
    load = f"torch.load({str(path)!r}, map_location='cpu', weights_only=True)"
    arrays = f"**{{k: v.detach().numpy() for k, v in {load}.items()}}"
    return f'python -c "import torch, numpy; numpy.savez({str(path.with_suffix(".npz"))!r}, {arrays})"'


def _read_npz(path: Path) -> State:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, "it is not a zip archive")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error


def _read_safetensors(path: Path) -> State:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ValueError(
            f"{path} needs the package safetensors ({error}): pip install safetensors, or give a .npz file"
        ) from None
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, why: object) -> ValueError:
    return ValueError(f"{path} cannot be read as a {path.suffix} file, it may be damaged: {why}")


def content_digest(path: PathLike) -> str:
    """BLAKE2b digest (32 hexadecimal digits) of a file's bytes, for names of what was trained from it.

    Raises ValueError where `read_resnet18` would refuse the file without opening it.
    """
    check_file(Path(path))
    return file_digest(Path(path))
