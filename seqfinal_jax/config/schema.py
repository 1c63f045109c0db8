"""The schema: every field of the configuration once, with its default, its allowed values and its meaning."""

from dataclasses import dataclass
from typing import Any, get_args

from seqfinal_jax.data.copies import DUPLICATES
from seqfinal_jax.data.images.decode import MOST_MEGAPIXELS
from seqfinal_jax.data.matching.links import MEMORY_GIB
from seqfinal_jax.data.recorded.splits import FINAL_SHARES
from seqfinal_jax.data.recorded.step_order import PERIODS
from seqfinal_jax.methods.grid import JOINT_GRID, Grid
from seqfinal_jax.methods.joint_options import FISHERS, JOINT_MODES, SAMPLES, STRENGTHS
from seqfinal_jax.methods.options import MODES, REGULARIZATIONS
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.models.per_step.low_rank import AdapterInit, AdapterMode
from seqfinal_jax.records.kinds import Kind, choice, flag, like, optional, real, several, text, whole

FULL_GRID = Grid(adjacent=(0.01, 0.1, 1.0))
LARGEST_SEED = 2**32 - 1
SMALLEST_RATE = 1.2e-38  # smaller numbers are 0 in float32
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


@dataclass(frozen=True)
class ConfigField:
    """One field.

    name: with dots, as after `--config.`. kind: its allowed values. meaning: one sentence. option: the option of methods
    that it sets, so that their records tell which read it. size: the size of networks that it sets, for some families.
    everywhere: it belongs to the run as a whole, or may be set where nothing reads it; any other field that is set must
    change some result.
    """

    name: str
    default: Any
    kind: Kind
    meaning: str
    option: str = ""
    size: str = ""
    everywhere: bool = False

    @property
    def section(self) -> str:
        """The part before the dot; empty for a field of the run itself."""
        return self.name.rpartition(".")[0]


def _run(name: str, default: Any, kind: Kind, meaning: str) -> ConfigField:
    return ConfigField(name, default, kind, meaning, everywhere=True)


def _data(name: str, default: Any, kind: Kind, meaning: str) -> ConfigField:
    return ConfigField(f"data.{name}", default, kind, meaning)


def _tune(name: str, default: Any, kind: Kind, meaning: str, option: str = "") -> ConfigField:
    return ConfigField(f"fine_tune.{name}", default, kind, meaning, option=option)


def _joint(name: str, default: Any, kind: Kind, meaning: str) -> ConfigField:
    return ConfigField(f"joint.{name}", default, kind, meaning, option="joint")


def _size(name: str, default: Any, kind: Kind, meaning: str) -> ConfigField:
    return ConfigField(f"network.{name}", default, kind, meaning, size=name)


# fmt: off
FIELDS: tuple[ConfigField, ...] = (
    _run("name", "", text(), "The name of the sequence in tables."),
    _run("plugins", (), NAMES, "Your own Python files or modules: methods, shifts, data, networks, figures."),
    _run("methods", (), NAMES, "The methods that are trained; empty: those of the published table and two controls."),
    _run("architectures", (), NAMES, "Networks; `all`: the published twelve; empty: a default for the hardware."),
    _run("seeds", (), several(whole(0, LARGEST_SEED), distinct=True),
         "Random seeds; empty: a default for the hardware."),
    _run("data_seed", -1, whole(-1, LARGEST_SEED), "The seed that draws the data; -1: the seed of the run."),
    _run("precision", "bfloat16", choice(get_args(Precision)),
         "Precision of the products of layers: float32 (`highest`), or operands rounded to bfloat16 "
         "and sums in float32."),

    ConfigField("protocol.input_scaling", "standardised", choice(("standardised", "raw")), "How pixels become inputs."),
    ConfigField("protocol.subpop_sizes", "as_asked", choice(("as_asked", "released")),
                "Sizes of the sub-population shift as asked for, or as the published program draws them."),
    ConfigField("protocol.test_all_steps_draws", "own", choice(("own", "same_stream")),
                "Whether test sets of earlier steps are drawn separately, or from the stream of the "
                "other draws, as published."),
    ConfigField("protocol.history_steps", "history", choice(("history", "all")),
                "The steps that count as history: all but the final one, or all, as "
                "published.", option="history_steps"),
    ConfigField("protocol.decay_selection", "validation", choice(("validation", "test")),
                "The split that selects the decay of learning rates.", option="decay_selection"),
    ConfigField("protocol.penalise_bn", "none", choice(("none", "by_name")),
                "Which batch norms take part in penalties towards earlier models: none, or some as published."),
    ConfigField("input_mean", (0.485, 0.456, 0.406), several(real(), 1), "The mean of each channel, of pixels 0..1."),
    ConfigField("input_std", (0.229, 0.224, 0.225), several(real(above=0), 1),
                "The standard deviation of each channel, of pixels 0..1."),
    ConfigField("oracle_size", 20000, whole(1), "Samples of the final step that `oracle` trains and validates on."),

    _run("data.dataset", "", text("the name of a data set"), "The base data set, or a recorded sequence."),
    _run("data.shifts", "", text(),
         "The shifts of each later step: a colon between steps, a comma or plus within one."),
    _run("data.source_size", 0, whole(0), "Training and validation samples of the first step."),
    _run("data.target_sizes", (), several(whole(1)), "Training and validation samples of each later step."),
    _run("data.test_size", 0, whole(0), "Test samples of the final step."),
    _run("data.disjoint", False, flag(), "Draws no image for more than one step."),
    _run("data.test_all_steps", False, flag(),
         "Also tests the models of earlier time steps, for methods that have them."),
    _data("image_size", 32, whole(0), "Height and width of own images after scaling, in pixels; 0: their own size."),
    _data("grey", False, flag(), "Reads own images in grey, with one channel, instead of RGB."),
    _data("period", "as_given", choice(PERIODS), "The period that makes up one time step of recorded data."),
    _data("steps", (), several(text()),
          "The time steps of recorded data, in order; empty: ordered by date or number."),
    _data("split", FINAL_SHARES, several(real(above=0), 3),
          "Shares of training, validation and test samples at a recorded final step."),
    _data("split_seed", -1, whole(-1, LARGEST_SEED),
          "The seed that splits recorded data; -1: the seed of the data."),
    _data("split_file", "", text("the path of a CSV file"),
          "Own images that belong to a given split: columns `file`, `part` (train, valid, test) and `group`. "
          "The others are drawn."),
    _run("data.duplicates", "remove", choice(DUPLICATES),
         "Training images of your own data that are copies of images of the final validation or test set, or of their "
         "groups."),
    _data("white", 0.0, real(), "The stored value that is white in own image files; 0: the largest of 8 or 16 bits."),
    _run("data.most_megapixels", MOST_MEGAPIXELS, real(above=0), "The largest size of own image files, in megapixels."),
    _data("keep", 1.0, real(above=0, most=1),
          "The share of each class that is used of the training and validation samples of every recorded step."),
    _data("most_per_class", 0, whole(0), "The largest number of recorded samples per class and split; 0: all."),

    _size("stem_width", 0, whole(0), "Channels of the first layer; 0: the preset."),
    _size("widths", (), several(whole(1)), "Channels of each block; empty: the preset."),
    _size("strides", (), several(whole(1)), "The stride of each block; empty: the preset."),
    _size("width_factor", 1.0, real(above=0), "Multiplies every preset width."),
    _size("block_relu", False, flag(), "Adds a ReLU after each block."),
    _size("units", 2, whole(1), "Basic units per block."),
    _size("dense_layers", (), several(whole(1)), "Layers of each dense block; empty: the preset."),

    ConfigField("grid.learning_rate", FULL_GRID.learning_rate, RATES, "The learning rates of the grid."),
    ConfigField("grid.weight_decay", FULL_GRID.weight_decay, DECAYS, "The weight decays of the grid."),
    ConfigField("grid.adjacent", FULL_GRID.adjacent, DECAYS,
                "Strengths of the penalty on what side modules and adapters add."),
    ConfigField("grid.dropout", FULL_GRID.dropout, DROPOUTS, "The dropout probabilities of the grid."),
    ConfigField("joint_grid.learning_rate", JOINT_GRID.learning_rate, RATES, "Learning rates of the joint model."),
    ConfigField("joint_grid.weight_decay", JOINT_GRID.weight_decay, DECAYS, "Weight decays of the joint model."),
    ConfigField("joint_grid.adjacent", JOINT_GRID.adjacent, several(real(), 0, True),
                "Strengths of the joint model's adjacent penalty; empty: those of `joint.adjacent_penalty`."),
    ConfigField("joint_grid.dropout", JOINT_GRID.dropout, DROPOUTS, "Dropout probabilities of the joint model."),
    ConfigField("joint_grid.final_weight", JOINT_GRID.final_weight, DECAYS, "Weights of the final step's loss."),

    _tune("layers", "all", text(), "Which layers are tuned, and in which order: `fc-all`, `search`, ...", "layers"),
    _tune("regularization", "standard", choice(REGULARIZATIONS), "Penalty towards the previous model.",
          "regularization"),
    _tune("mode", "standard", choice(MODES),
          "What is trained: all weights, side modules, adapters, or the last step of a joint model.", "mode"),
    _tune("ablate_init", False, flag(), "Starts from random weights and keeps the penalty.", "ablate_init"),
    _tune("fisher", "batch_sums", choice(("batch_sums", "per_sample")),
          "Fisher weights from the squared gradient of a minibatch's sum, as published, or of single samples."),
    _tune("freeze_batch_stats", False, flag(),
          "Keeps the running statistics of frozen layers fixed; as published they drift."),
    ConfigField("side.layer_sizes", "", text("'block', or whole numbers by comma such as '8,16', or ''"),
                "Side modules: whole blocks, or convolutions with these numbers of channels; empty: "
                "one convolution.", option="side"),
    ConfigField("adapter.mode", "add", choice(get_args(AdapterMode)),
                "How adapters change a kernel.", option="adapter"),
    ConfigField("adapter.rank", 1, whole(1), "The rank of each adapter.", option="adapter"),
    ConfigField("adapter.init", "uniform", choice(get_args(AdapterInit)),
                "The initial values of adapters.", option="adapter"),
    ConfigField("all_layers_efficient", False, flag(),
                "Puts side modules or adapters on all layers, including the stem and the head.",
                option="all_layers_efficient"),

    _joint("mode", "separate", choice(JOINT_MODES),
           "What later steps add: weights of their own, side modules, or adapters."),
    _joint("separate_layers", "all", text(), "The layers that are separate: `all`, `search`, or names by step."),
    _joint("adjacent_penalty", "l2", choice(tuple(STRENGTHS)), "The penalty between the models of consecutive steps."),
    _joint("penalty_by_time", False, flag(), "Makes weight decay grow with the time step."),
    _joint("increasing_loss_weights", False, flag(), "Gives the loss of later steps more weight."),
    _joint("loss_samples", "all", choice(SAMPLES), "Samples of earlier steps: all, or matched to the final ones."),
    _joint("ablate", False, flag(), "Disables what later steps add, as a check."),
    _joint("sweep_efficient_penalty", False, flag(), "Varies the weight decay of side modules or adapters."),
    _joint("same_init_over_time", False, flag(), "Starts all steps from the same random weights."),
    _joint("resume_to_epochs", 0, whole(0),
           "Continues the selected training to this number of epochs; 0: no continuation."),
    _joint("resume_patience", 10, whole(0), "The patience while resuming."),
    _joint("fisher", "batch_sums", choice(FISHERS), "How the penalty `l2_fisher` computes its Fisher weights."),
    _run("joint.matching_memory_gib", MEMORY_GIB, real(above=0),
         "Memory limit for the distances within one class, in GiB."),

    ConfigField("pretrained.resnet18", "", text("the path of a file"), "ImageNet weights that `resnet-4` starts from.",
                option="pretrained"),
    ConfigField("pretrained.checkpoint", "", text("the path of an Orbax folder, or of a .safetensors or .npz file"),
                "Weights of your own that take the place of random initial weights.", option="pretrained"),
    _run("analysis.smallest_difference", 1.0, real(),
         "The smallest difference, in percentage points of accuracy, that is called one."),
    ConfigField("search", "grid", choice(("grid", "halving")),
                "Whether all grid points are trained to their end, or the worse half stops after 1/8, 1/4 and 1/2 of the "
                "allowed epochs."),
    ConfigField("training.max_epochs", 100, whole(1),
                "The largest number of epochs, where `least_updates` does not allow more."),
    ConfigField("training.least_updates", None, optional(whole(0)),
                "Optimiser updates that every training is allowed at least; 0: none."),
    ConfigField("training.batch_size", 100, whole(1), "Samples per minibatch."),
    ConfigField("training.patience", 5, whole(0), "Epochs without improvement before stopping."),
    ConfigField("training.patience_updates", None, optional(whole(0)),
                "Updates without improvement before stopping, where they are more than `patience` epochs; 0: none."),
    ConfigField("training.stop_on", "best", choice(("previous", "best")),
                "What counts as improvement: over the previous or over the best epoch."),
    ConfigField("training.ties", "loss", choice(("loss", "first")),
                "Which of equal validation accuracies is best: of the lowest validation loss, then the later epoch, and "
                "never random start weights; or the first, as published."),
    ConfigField("training.train_metrics", "running", choice(("running", "eval")),
                "Training loss and accuracy: of the training passes, or of a separate pass."),
    ConfigField("training.init_per_grid_point", False, flag(), "Draws random initial weights for each grid point."),
    ConfigField("training.normalise_time_weights", False, flag(), "Scales the weights of `erm_all_weighted` to mean 1.",
                option="normalise_time_weights"),
)
# fmt: on


def own_fields() -> tuple[ConfigField, ...]:
    """The fields and grid axes that records of methods declare for themselves."""
    found, taken = [], {each.name.partition(".")[0] for each in FIELDS}
    for name in METHODS:
        record = METHODS.get(name)
        if (record.fields or record.axes) and name in taken:
            raise ValueError(
                f"method {name!r} declares fields, and config.{name} has another meaning; rename it"
            )
        for each in record.fields:
            kind = each.kind or like(each.default)
            found.append(ConfigField(f"{name}.{each.name}", each.default, kind, each.meaning, option=name))
        for axis in record.axes:
            kind = several(axis.kind or real(least=-float("inf")), 1, True)
            found.append(ConfigField(f"{name}.{axis.name}", axis.values, kind, axis.meaning, option=name))
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
