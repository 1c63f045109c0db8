"""Where a run's sequences come from: one protocol, and its implementation of a base data set that shifts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from seqfinal_jax.data.base.sources import DATASETS, Source, data_folder
from seqfinal_jax.data.sequences.sequence import Described, Sequence, build_from_spec
from seqfinal_jax.data.sequences.sequence import training_sizes as spec_training_sizes
from seqfinal_jax.data.sequences.spec import SequenceSpec, fingerprint, sequence_spec
from seqfinal_jax.data.shifts.shift import check_needs
from seqfinal_jax.records.code_identity import code_digest, defined_in
from seqfinal_jax.records.registry import Registry, nearest

READ_WITH = (
    "duplicates",
    "white",
    "most_megapixels",
)  # fields of config.data that reading own images depends on
OWN = ("own_data", "own_images")  # data of users, in which copies are looked for


class SequenceSource(Described, Protocol):
    """A sequence of labelled images over time, in one or several variants.

    The attributes below are required. Optional ones, read by `named_steps`, `training_sizes_of` and
    `published_scaling_of`, are: `step_names`, the names of the time steps; `published_scaling`, the mean and
    deviation with which a published program scales these images where it does not take pixels as they are;
    `mirror_keeps_class`, whether a mirrored image is of the same class (without it, `config.data` says so);
    `training_sizes(variant)`, the training samples among those of `sizes` (without it, 80 % of each step); and
    `chosen(data)`, the same data under another `config.data`, or None where they have to be read again.

    name: of the data. class_names: in the order of the labels. image_shape: (h, w, c). variants: the builds on offer;
    "main" is always there, "oracle" has a larger final step. record: where the data come from; its "content_sha256"
    identifies all that was read, "official" says whether they are the published data (True, False or "unverified").
    """

    @property
    def variants(self) -> tuple[str, ...]:
        """The builds on offer."""
        ...

    def sizes(self, variant: str) -> tuple[int, ...]:
        """Training and validation samples of each step, for the estimate of the time."""
        ...

    def identity(self, variant: str) -> Any:
        """Everything that determines a variant's data besides the seed, as plain data."""

    def build(self, variant: str, seed: int) -> Sequence:
        """The variant's images; equal arguments give equal bits. Raises ValueError where it cannot be built."""
        ...


@dataclass(frozen=True)
class SequenceRequest:
    """The part of a configuration that describes the data.

    data: the section `config.data`. oracle_size, subpop_sizes, test_all_steps_draws: those fields. data_dir: the folder
    that the command line names, or None.
    """

    data: Mapping[str, Any]
    oracle_size: int
    subpop_sizes: str = "as_asked"
    test_all_steps_draws: str = "own"
    data_dir: Path | None = None


SEQUENCES: Registry[Callable[[SequenceRequest], SequenceSource]] = Registry("sequence")


def sequence(name: str) -> Callable[[Callable], Callable]:
    """Registers a function of a `SequenceRequest` that returns a `SequenceSource`, under a name for `data.dataset`."""

    def register(make: Callable) -> Callable:
        if name in DATASETS:
            raise ValueError(f"sequence {name!r}: a base data set has that name; choose another name")
        SEQUENCES.add(name, make, origin=defined_in(make))
        return make

    return register


@dataclass(frozen=True)
class ShiftedSequence:
    """A base data set that shifts from step to step; read_with: the options with which images of users were read."""

    source: Source
    specs: Mapping[str, SequenceSpec]
    read_with: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        """Takes the name from the base data set."""
        object.__setattr__(self, "name", self.source.name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the base data set."""
        return self.source.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """That of the base data set."""
        return self.source.image_shape

    @property
    def variants(self) -> tuple[str, ...]:
        """ "main" and "oracle"."""
        return tuple(self.specs)

    @property
    def step_names(self) -> tuple[str, ...]:
        """What shifts at each step."""
        return (
            "source",
            *(", ".join(names).replace("_", " ") or "none" for names in self.specs["main"].shifts),
        )

    @property
    def mirror_keeps_class(self) -> bool | None:
        """That of the base data set."""
        return self.source.mirror_keeps_class

    @property
    def record(self) -> Mapping[str, Any]:
        """Where the base data set comes from."""
        return self.source.record

    def sizes(self, variant: str) -> tuple[int, ...]:
        """Those asked for."""
        return self.specs[variant].sizes

    def training_sizes(self, variant: str) -> tuple[int, ...]:
        """Training samples of each step."""
        return spec_training_sizes(self.specs[variant], self.source)

    def identity(self, variant: str) -> str:
        """The fingerprint of the specification, shifts and source included, at seed 0."""
        return fingerprint(replace(self.specs[variant], seed=0), self.source)

    def build(self, variant: str, seed: int) -> Sequence:
        """Drawn and shifted, or read from the cache."""
        return build_from_spec(replace(self.specs[variant], seed=seed), self.source)


def shifted_sequence(request: SequenceRequest, like: SequenceSource | None = None) -> ShiftedSequence:
    """The sequence of a base data set; raises ValueError for shifts and sizes that do not work, before data are read.

    The images of `like` are taken where there is one.
    """
    data, targets = request.data, tuple(request.data["target_sizes"])
    specs = {"main": _spec(request, targets)}
    specs["oracle"] = _spec(request, (*targets[:-1], request.oracle_size))
    read_with = {name: data[name] for name in READ_WITH if name in data} if data["dataset"] in OWN else {}
    if isinstance(like, ShiftedSequence) and like.read_with == read_with:
        return ShiftedSequence(like.source, specs, read_with)
    source = DATASETS.get(data["dataset"])(data_folder(request.data_dir), **read_with)
    check_needs(specs["main"].shifts, source.image_shape)
    return ShiftedSequence(source, specs, read_with)


def _spec(request: SequenceRequest, target_sizes: tuple[int, ...]) -> SequenceSpec:
    data = request.data
    return sequence_spec(
        data["dataset"],
        data["shifts"],
        data["source_size"],
        target_sizes,
        data["test_size"],
        seed=0,
        subpop_sizes=request.subpop_sizes,
        test_all_steps_draws=request.test_all_steps_draws,
        test_all_steps=data["test_all_steps"],
        disjoint=data["disjoint"],
    )


def sequence_source(request: SequenceRequest, like: SequenceSource | None = None) -> SequenceSource:
    """The source that `data.dataset` names: a sequence of its own, or a base data set with shifts.

    `like` is a source of the same data for another request, which saves reading them again. Raises ValueError for an
    unknown name, and what the source raises.
    """
    name, duplicates = request.data["dataset"], request.data.get("duplicates", "remove")
    if duplicates != "remove" and name not in OWN:
        raise ValueError(
            f"config.data.duplicates = {duplicates!r} is for {' and '.join(OWN)}; leave it at 'remove' for {name!r}, "
            f"of which all images are taken"
        )
    if name in SEQUENCES:
        chosen = getattr(like, "chosen", None)
        known = chosen(request.data) if chosen else like
        return SEQUENCES.get(name)(request) if known is None else known
    if name not in DATASETS:
        raise ValueError(
            f"config.data.dataset: unknown data set {name!r}; {nearest(name, [*DATASETS, *SEQUENCES])}"
        )
    return shifted_sequence(request, like)


def named_steps(source: SequenceSource) -> tuple[str, ...]:
    """The names of a source's time steps; "step 0", "step 1" and so on where it has none."""
    names = getattr(source, "step_names", None)
    return tuple(names or (f"step {t}" for t in range(len(source.sizes("main")))))


def training_sizes_of(source: SequenceSource, variant: str) -> tuple[int, ...]:
    """Training samples of each step of a variant, the same for every seed; 80 % where a source does not say."""
    own = getattr(source, "training_sizes", None)
    return tuple(own(variant)) if own else tuple(int(0.8 * size) for size in source.sizes(variant))


def published_scaling_of(source: SequenceSource) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation of pixels 0..1 in the published program; None where it takes pixels 0..255 as they are."""
    return getattr(source, "published_scaling", None)


def source_code(name: str) -> str:
    """The digest of the user's code that a data set or sequence is made by; empty for this package's own."""
    registry = SEQUENCES if name in SEQUENCES else DATASETS
    return code_digest(registry.get(name)) if registry.origin(name) else ""
