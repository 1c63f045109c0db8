"""The schema: every field of the configuration once, with its type, default, meaning and allowed values.

A section is a frozen dataclass, and `RunSpec` has them all. A configuration file fills in a ConfigDict of the same names
(`build.base_config`), which `parse.parse` checks and turns into a `RunSpec`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from seqfinal_jax.data.copies import DUPLICATES
from seqfinal_jax.data.images.decode import MOST_MEGAPIXELS
from seqfinal_jax.data.recorded.splits import FINAL_SHARES
from seqfinal_jax.data.recorded.step_order import PERIODS
from seqfinal_jax.methods.grid import JOINT_GRID, Grid
from seqfinal_jax.methods.joint_options import JointOptions
from seqfinal_jax.methods.options import MODES, REGULARIZATIONS, Options
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models.parts.groups import PenaliseBatchNorm
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.models.per_step.side import SideSizes
from seqfinal_jax.records.kinds import Kind, choice, like, of_type, one, real, several, text, whole
from seqfinal_jax.training.engine.early_stopping import Search, StopOn, Ties
from seqfinal_jax.training.engine.optimisers import OPTIMISERS, Schedule

FULL_GRID = Grid(adjacent=(0.01, 0.1, 1.0))
LARGEST_SEED = 2**32 - 1
SMALLEST_RATE = 1.2e-38  # smaller numbers are 0 in float32
SEED = whole(-1, LARGEST_SEED)
RATE = Kind(
    "a number above 0",
    lambda v: (
        real(above=0).wrong(v) or (f"{v!r}, which is 0 in single precision" if v < SMALLEST_RATE else None)
    ),
)
RATES, DECAYS = several(RATE, 1, True), several(real(), 1, True)
DROPOUTS = several(real(below=1), 1, True)
NAMES = Kind(
    "names by comma, or a tuple of them",
    lambda v: (
        None
        if isinstance(v, str) or (isinstance(v, (tuple, list)) and all(isinstance(name, str) for name in v))
        else repr(v)
    ),
)
SIDE = Kind(
    "'block', or whole numbers by comma such as '8,16', or ''",
    lambda v: None if isinstance(v, str) and (v == "block" or _are_sizes(v)) else repr(v),
)


def _are_sizes(names: str) -> bool:
    parts = [part.strip() for part in names.split(",") if part.strip()]
    return all(part.isdigit() and int(part) > 0 for part in parts)


# fmt: off
@dataclass(frozen=True)
class Protocol:
    """Every place where the published program departs from its own description (docs/protocols.md)."""

    input_scaling: Literal["standardised", "raw"] = one("standardised", "How pixels become inputs.")
    subpop_sizes: Literal["as_asked", "released"] = one(
        "as_asked", "Sizes of the sub-population shift as asked for, or as the published program draws them.")
    test_all_steps_draws: Literal["own", "same_stream"] = one(
        "own", "Whether test sets of earlier steps are drawn separately, or from the stream of the other draws, as "
               "published.")
    history_steps: Literal["history", "all"] = one(
        "history", "The steps that count as history: all but the final one, or all, as published.")
    decay_selection: Literal["validation", "test"] = one(
        "validation", "The split that selects the decay of learning rates.")
    penalise_bn: PenaliseBatchNorm = one(
        "none", "Which batch norms take part in penalties towards earlier models: none, or some as published.")


@dataclass(frozen=True)
class Data:
    """The data: a base data set that shifts, or a recorded sequence."""

    dataset: str = one("", "The base data set, or a recorded sequence.", text("the name of a data set"), True)
    shifts: str = one(
        "", "The shifts of each later step: a colon between steps, a comma or plus within one.", everywhere=True)
    source_size: int = one(0, "Training and validation samples of the first step.", whole(0), True)
    target_sizes: tuple[int, ...] = one(
        (), "Training and validation samples of each later step.", several(whole(1)), True)
    test_size: int = one(0, "Test samples of the final step.", whole(0), True)
    disjoint: bool = one(False, "Draws no image for more than one step.", everywhere=True)
    test_all_steps: bool = one(
        False, "Also tests the models of earlier time steps, for methods that have them.", everywhere=True)
    image_size: int = one(
        32, "Height and width of own images after scaling, in pixels; 0: their own size.", whole(0))
    grey: bool = one(False, "Reads own images in grey, with one channel, instead of RGB.")
    period: str = one("as_given", "The period that makes up one time step of recorded data.", choice(PERIODS))
    steps: tuple[str, ...] = one(
        (), "The time steps of recorded data, in order; empty: ordered by date or number.", several(text()))
    split: tuple[float, ...] = one(
        FINAL_SHARES, "Shares of training, validation and test samples at a recorded final step.",
        several(real(above=0), 3))
    split_seed: int = one(-1, "The seed that splits recorded data; -1: the seed of the data.", SEED)
    split_file: str = one(
        "", "Own images that belong to a given split: columns `file`, `part` (train, valid, test) and `group`. The "
            "others are drawn.", text("the path of a CSV file"))
    duplicates: str = one(
        "remove", "Training images of your own data that are copies of images of the final validation or test set, or "
                  "of their groups.", choice(DUPLICATES), True)
    white: float = one(
        0.0, "The stored value that is white in own image files; 0: the largest of 8 or 16 bits.", real())
    most_megapixels: float = one(
        MOST_MEGAPIXELS, "The largest size of own image files, in megapixels.", real(above=0), True)
    mirror_keeps_class: bool = one(
        False, "Says of your own data that a mirrored image keeps its class, without which flips are refused.",
        everywhere=True)
    keep: float = one(
        1.0, "The share of each class that is used of the training and validation samples of every recorded step.",
        real(above=0, most=1))
    most_per_class: int = one(
        0, "The largest number of recorded samples per class and split; 0: all.", whole(0))


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the networks, of which every family reads some."""

    stem_width: int = one(0, "Channels of the first layer; 0: the preset.", whole(0))
    widths: tuple[int, ...] = one((), "Channels of each block; empty: the preset.", several(whole(1)))
    strides: tuple[int, ...] = one((), "The stride of each block; empty: the preset.", several(whole(1)))
    width_factor: float = one(1.0, "Multiplies every preset width.", real(above=0))
    block_relu: bool = one(False, "Adds a ReLU after each block.")
    units: int = one(2, "Basic units per block.", whole(1))
    dense_layers: tuple[int, ...] = one((), "Layers of each dense block; empty: the preset.", several(whole(1)))


@dataclass(frozen=True)
class SearchGrid:
    """The grid of hyper-parameters of every search but the joint model's."""

    learning_rate: tuple[float, ...] = one(FULL_GRID.learning_rate, "The learning rates of the grid.", RATES)
    weight_decay: tuple[float, ...] = one(FULL_GRID.weight_decay, "The weight decays of the grid.", DECAYS)
    adjacent: tuple[float, ...] = one(
        FULL_GRID.adjacent, "Strengths of the penalty on what side modules and adapters add.", DECAYS)
    dropout: tuple[float, ...] = one(FULL_GRID.dropout, "The dropout probabilities of the grid.", DROPOUTS)


@dataclass(frozen=True)
class JointGrid:
    """The grid of hyper-parameters of the joint model."""

    learning_rate: tuple[float, ...] = one(JOINT_GRID.learning_rate, "Learning rates of the joint model.", RATES)
    weight_decay: tuple[float, ...] = one(JOINT_GRID.weight_decay, "Weight decays of the joint model.", DECAYS)
    adjacent: tuple[float, ...] = one(
        JOINT_GRID.adjacent, "Strengths of the joint model's adjacent penalty; empty: those of "
                             "`joint.adjacent_penalty`.", several(real(), 0, True))
    dropout: tuple[float, ...] = one(JOINT_GRID.dropout, "Dropout probabilities of the joint model.", DROPOUTS)
    final_weight: tuple[float, ...] = one(JOINT_GRID.final_weight, "Weights of the final step's loss.", DECAYS)


@dataclass(frozen=True)
class FineTune:
    """How a trained model is adapted."""

    layers: str = one("all", "Which layers are tuned, and in which order: `fc-all`, `search`, ...")
    regularization: str = one("standard", "Penalty towards the previous model.", choice(REGULARIZATIONS))
    mode: str = one(
        "standard", "What is trained: all weights, side modules, adapters, or the last step of a joint model.",
        choice(MODES))
    ablate_init: bool = one(False, "Starts from random weights and keeps the penalty.")
    fisher: Literal["batch_sums", "per_sample"] = one(
        "batch_sums", "Fisher weights from the squared gradient of a minibatch's sum, as published, or of single "
                      "samples.")
    freeze_batch_stats: bool = one(
        False, "Keeps the running statistics of frozen layers fixed; as published they drift.")


@dataclass(frozen=True)
class Side:
    """Side modules."""

    layer_sizes: str = one(
        "", "Side modules: whole blocks, or convolutions with these numbers of channels; empty: one convolution.", SIDE)

    @property
    def sizes(self) -> SideSizes:
        """"block", or the numbers of channels; empty for a single convolution."""
        if self.layer_sizes == "block":
            return self.layer_sizes
        return tuple(int(part) for part in self.layer_sizes.split(",") if part.strip())


@dataclass(frozen=True)
class Pretrained:
    """Weights that take the place of random initial ones."""

    resnet18: str = one("", "ImageNet weights that `resnet-4` starts from.", text("the path of a file"))
    checkpoint: str = one(
        "", "Weights of your own that take the place of random initial weights.",
        text("the path of an Orbax folder, or of a .safetensors or .npz file"))


@dataclass(frozen=True)
class Analysis:
    """How results are read."""

    smallest_difference: float = one(
        1.0, "The smallest difference, in percentage points of accuracy, that is called one.", real(), True)


@dataclass(frozen=True)
class TrainingLoop:
    """How every training goes.

    The budgets in updates were set after the final step alone of cifar10_rcl:quick; whether they suffice for other
    methods is not measured (docs/results/convergence.md).
    """

    max_epochs: int = one(
        100, "The largest number of epochs, where `least_updates` does not allow more.", whole(1))
    least_updates: int = one(
        2000, "Optimiser updates that every training is allowed at least; 0: none, as where `max_epochs` is set.",
        whole(0), unset=True)
    batch_size: int = one(100, "Samples per minibatch.", whole(1))
    patience: int = one(5, "Epochs without improvement before stopping.", whole(0))
    patience_updates: int = one(
        500, "Updates without improvement before stopping, where they are more than `patience` epochs; 0: none, as "
             "where `patience` is set.", whole(0), unset=True)
    stop_on: StopOn = one("best", "What counts as improvement: over the previous or over the best epoch.")
    ties: Ties = one(
        "loss", "Which of equal validation accuracies is best: of the lowest validation loss, then the later epoch, and "
                "never random start weights; or the first, as published.")
    optimiser: str = one(
        "adam", "The optimiser of every training: adam, adamw, sgd, sgd_nesterov, or one of your own.",
        text("the name of an optimiser"))
    schedule: Schedule = one(
        "constant", "How the learning rate moves over the updates that a training is allowed: constant, by half a cosine "
                    "to 0, up over the first tenth, or both.")
    augmentation: str = one(
        "", "Random changes of training images: crop, flip, crop_flip, or one of your own; empty: none.",
        text("the name of an augmentation"))
    train_metrics: Literal["running", "eval"] = one(
        "running", "Training loss and accuracy: of the training passes, or of a separate pass.")
    init_per_grid_point: bool = one(False, "Draws random initial weights for each grid point.")
    normalise_time_weights: bool = one(False, "Scales the weights of `erm_all_weighted` to mean 1.")


@dataclass(frozen=True)
class RunSpec:
    """A whole configuration, checked.

    own: the values of the fields and axes that users' methods declare, by "<method>.<name>". given: the names of the
    fields that the command line or the interface set. notes: what the user should know of fields that follow from others.
    """

    name: str = one("", "The name of the sequence in tables.", everywhere=True)
    plugins: tuple[str, ...] = one(
        (), "Your own Python files or modules: methods, shifts, data, networks, figures.", NAMES, True)
    methods: tuple[str, ...] = one(
        (), "The methods that are trained; empty: those of the published table and two controls.", NAMES, True)
    architectures: tuple[str, ...] = one(
        (), "Networks; `all`: the published twelve; empty: a default for the hardware.", NAMES, True)
    seeds: tuple[int, ...] = one(
        (), "Random seeds; empty: a default for the hardware.", several(whole(0, LARGEST_SEED), distinct=True), True)
    data_seed: int = one(-1, "The seed that draws the data; -1: the seed of the run.", SEED, True)
    precision: Precision = one(
        "bfloat16", "Precision of the products of layers: float32 (`highest`), or operands rounded to bfloat16 and sums "
                    "in float32.", everywhere=True)
    protocol: Protocol = Protocol()
    input_mean: tuple[float, ...] = one(
        (0.485, 0.456, 0.406), "The mean of each channel, of pixels 0..1.", several(real(), 1))
    input_std: tuple[float, ...] = one(
        (0.229, 0.224, 0.225), "The standard deviation of each channel, of pixels 0..1.", several(real(above=0), 1))
    oracle_size: int = one(20000, "Samples of the final step that `oracle` trains and validates on.", whole(1))
    data: Data = Data()
    network: NetworkSizes = NetworkSizes()
    grid: SearchGrid = SearchGrid()
    joint_grid: JointGrid = JointGrid()
    fine_tune: FineTune = FineTune()
    side: Side = Side()
    adapter: Adapter = Adapter()
    all_layers_efficient: bool = one(
        False, "Puts side modules or adapters on all layers, including the stem and the head.")
    joint: JointOptions = JointOptions()
    pretrained: Pretrained = Pretrained()
    analysis: Analysis = Analysis()
    search: Search = one(
        "grid", "Whether all grid points are trained to their end, or the worse half stops after 1/8, 1/4 and 1/2 of the "
                "allowed epochs.")
    training: TrainingLoop = TrainingLoop()
    own: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
# fmt: on


@dataclass(frozen=True)
class ConfigField:
    """One field, by its name with dots, as after `--config.`; type: None for users' own; the others as in `kinds.one`."""

    name: str
    default: Any
    kind: Kind
    meaning: str
    type: Any = None
    everywhere: bool = False
    unset: bool = False

    @property
    def section(self) -> str:
        """The part before the dot; empty for a field of the run itself."""
        return self.name.rpartition(".")[0]

    @property
    def last(self) -> str:
        """The part behind the dot."""
        return self.name.rpartition(".")[2]

    @property
    def size(self) -> str:
        """The size of networks that it sets, for some families."""
        return self.last if self.section == "network" else ""

    @property
    def option(self) -> str:
        """The option of methods that it sets, so that their records tell which read it."""
        if self.type is None:
            return self.section
        known = {each.name for each in dataclasses.fields(Options)}
        return next((name for name in (self.section, self.last) if name in known), "")


def _fields_of(section: type, prefix: str = "") -> list[ConfigField]:
    found = []
    for each in dataclasses.fields(section):
        if dataclasses.is_dataclass(each.type):
            found += _fields_of(each.type, f"{each.name}.")
        elif each.metadata:
            facts = {**each.metadata, "kind": each.metadata["kind"] or of_type(each.type)}
            found.append(ConfigField(prefix + each.name, each.default, type=each.type, **facts))
    return found


FIELDS: tuple[ConfigField, ...] = tuple(_fields_of(RunSpec))


def own_fields() -> tuple[ConfigField, ...]:
    """The fields and grid axes that records of methods and optimisers declare for themselves."""
    found, taken = [], {each.name.partition(".")[0] for each in FIELDS}
    for name in METHODS:
        record = METHODS.get(name)
        if (record.fields or record.axes) and name in taken:
            raise ValueError(
                f"method {name!r} declares fields, and config.{name} has another meaning; rename it"
            )
        for each in record.fields:
            kind = each.kind or like(each.default)
            found.append(ConfigField(f"{name}.{each.name}", each.default, kind, each.meaning))
        for axis in record.axes:
            kind = several(axis.kind or real(least=-float("inf")), 1, True)
            found.append(ConfigField(f"{name}.{axis.name}", axis.values, kind, axis.meaning))
    for name in OPTIMISERS:
        for axis, values in OPTIMISERS.get(name).axes:
            if name in taken or name in METHODS:
                raise ValueError(
                    f"optimiser {name!r} declares an axis, and config.{name} has another meaning; rename it"
                )
            meaning = f"Values of the axis {axis} that are tried, for `config.training.optimiser={name}`."
            found.append(ConfigField(f"{name}.{axis}", values, several(real(), 1, True), meaning))
    return tuple(found)


def all_fields() -> tuple[ConfigField, ...]:
    """The fields of the package, then those of users' records."""
    return (*FIELDS, *own_fields())


def text_lists() -> set[str]:
    """The fields that are lists of strings, given as comma-separated lists on the command line."""
    return {
        each.name
        for each in all_fields()
        if isinstance(each.default, (tuple, list))
        and each.kind.wrong(("a",)) is None
        and each.kind.wrong((1,)) is not None
    }


def default_of(name: str) -> Any:
    """A field's default; raises KeyError for an unknown name."""
    return {each.name: each.default for each in all_fields()}[name]
