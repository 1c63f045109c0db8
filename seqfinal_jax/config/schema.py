"""The schema: every field of the configuration once, with its default, what it may be, and what it means."""

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

    name: with dots, as behind `--config.`. kind: what it may be. meaning: one sentence. option: the option of methods
    that it sets, so that their records tell which read it. size: the size of networks that it sets, for some families.
    everywhere: it belongs to the run as a whole, or holds where nothing needs it; other fields must change something.
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
    _run("methods", (), NAMES, "What is fitted; empty for the published table's row."),
    _run("architectures", (), NAMES, "Networks; `all` for the published twelve; empty for what suits the hardware."),
    _run("seeds", (), several(whole(0, LARGEST_SEED), distinct=True), "A cell each; empty for what suits the hardware."),
    _run("data_seed", -1, whole(-1, LARGEST_SEED), "Draws the data; -1 lets the run's seed draw them."),
    _run("precision", "", choice(("", "highest", "bfloat16")),
         "Of the products of layers: float32, or operands rounded to bfloat16 and float32 sums; empty for what the "
         "protocol has."),

    ConfigField("protocol.input_scaling", "standardised", choice(("standardised", "raw")), "How pixels become inputs."),
    ConfigField("protocol.subpop_sizes", "as_asked", choice(("as_asked", "released")),
                "Sizes of the sub-population shift as asked for, or as the published program draws them."),
    ConfigField("protocol.test_all_steps_draws", "own", choice(("own", "same_stream")),
                "Whether test sets of earlier steps leave the other draws as they are."),
    ConfigField("protocol.history_steps", "history", choice(("history", "all")),
                "What is called history: all steps but the final one, or all, as published.", option="history_steps"),
    ConfigField("protocol.decay_selection", "validation", choice(("validation", "test")),
                "What chooses the decay of learning rates.", option="decay_selection"),
    ConfigField("protocol.penalise_bn", "none", choice(("none", "by_name")),
                "Whether weight decay acts on batch-norm parameters, as published."),
    ConfigField("input_mean", (0.485, 0.456, 0.406), several(real(), 1), "The mean of each channel, of pixels 0..1."),
    ConfigField("input_std", (0.229, 0.224, 0.225), several(real(above=0), 1), "The deviation of each channel."),
    ConfigField("oracle_size", 20000, whole(1), "Samples of the final step that `oracle` has."),

    _run("data.dataset", "", text("the name of a data set"), "The base data set, or a sequence of your own."),
    _run("data.shifts", "", text(), "What shifts at each later step, by colon; several by plus."),
    _run("data.source_size", 0, whole(0), "Training and validation samples of the first step."),
    _run("data.target_sizes", (), several(whole(1)), "The same of each later step."),
    _run("data.test_size", 0, whole(0), "Test samples of the final step."),
    _run("data.disjoint", False, flag(), "No image occurs at two steps."),
    _run("data.test_all_steps", False, flag(), "Tests the models of all time steps, of methods that have them."),
    _data("image_size", 32, whole(0), "Own images become so many pixels high and wide; 0 keeps them as they are."),
    _data("grey", False, flag(), "Own images become grey, of one channel, instead of RGB."),
    _data("period", "as_given", choice(PERIODS), "What a time step of recorded data is."),
    _data("steps", (), several(text()),
          "The time steps of recorded data in order; empty for the order of dates and numbers."),
    _data("split", FINAL_SHARES, several(real(above=0), 3),
          "Shares of training, validation and test samples at a recorded final step."),
    _data("split_seed", -1, whole(-1, LARGEST_SEED),
          "Draws the split of recorded data; -1 lets the data's seed draw it."),
    _data("split_file", "", text("the path of a CSV file"),
          "Columns `file`, `part` (train, valid, test) and `group`: the parts of own images; others are drawn."),
    _run("data.duplicates", "remove", choice(DUPLICATES),
         "Training images of your own data that are copies of images of the final validation or test set, or of their "
         "groups."),
    _data("white", 0.0, real(), "The stored value that is white in own image files; 0 for the largest of 8 or 16 bits."),
    _run("data.most_megapixels", MOST_MEGAPIXELS, real(above=0), "Own image files may have so many million pixels."),
    _data("keep", 1.0, real(above=0, below=1.000001), "The share of recorded training and validation samples used."),
    _data("most_per_class", 0, whole(0), "Recorded samples of a class in each split at most; 0 for all."),

    _size("stem_width", 0, whole(0), "Channels of the first layer; 0 for the preset."),
    _size("widths", (), several(whole(1)), "Channels of each block; empty for the preset."),
    _size("strides", (), several(whole(1)), "Strides of each block; empty for the preset."),
    _size("width_factor", 1.0, real(above=0), "Multiplies every preset width."),
    _size("block_relu", False, flag(), "A ReLU behind each block."),
    _size("units", 2, whole(1), "Basic units of each block."),
    _size("dense_layers", (), several(whole(1)), "Layers of each dense block; empty for the preset."),

    ConfigField("grid.learning_rate", FULL_GRID.learning_rate, RATES, "Learning rates tried."),
    ConfigField("grid.weight_decay", FULL_GRID.weight_decay, DECAYS, "Weight decays tried."),
    ConfigField("grid.adjacent", FULL_GRID.adjacent, DECAYS,
                "Strengths tried of the penalty on what side modules and adapters add."),
    ConfigField("grid.dropout", FULL_GRID.dropout, DROPOUTS, "Dropout probabilities tried."),
    ConfigField("joint_grid.learning_rate", JOINT_GRID.learning_rate, RATES, "The same of the joint model."),
    ConfigField("joint_grid.weight_decay", JOINT_GRID.weight_decay, DECAYS, "The same of the joint model."),
    ConfigField("joint_grid.adjacent", JOINT_GRID.adjacent, several(real(), 0, True),
                "The same of the joint model; empty for the strengths that the type of penalty stands for."),
    ConfigField("joint_grid.dropout", JOINT_GRID.dropout, DROPOUTS, "The same of the joint model."),
    ConfigField("joint_grid.final_weight", JOINT_GRID.final_weight, DECAYS, "Weights tried of the final step's loss."),

    _tune("layers", "all", text(), "Which layers are tuned, and in which order: `fc-all`, `search`, ...", "layers"),
    _tune("regularization", "standard", choice(REGULARIZATIONS), "What holds the model to the one before.",
          "regularization"),
    _tune("mode", "standard", choice(MODES), "All weights, side modules, adapters, or the joint model's form.", "mode"),
    _tune("ablate_init", False, flag(), "Starts from random weights, the penalty stays.", "ablate_init"),
    _tune("fisher", "batch_sums", choice(("batch_sums", "per_sample")),
          "Fisher weights from squares of a minibatch's summed gradient, as published, or of single samples'."),
    _tune("freeze_batch_stats", False, flag(),
          "Keeps the running statistics of frozen layers still, which drift as published."),
    ConfigField("side.layer_sizes", "", text("'block', or whole numbers by comma such as '8,16', or ''"),
                "Side modules: whole blocks, or convolutions of these channels.", option="side"),
    ConfigField("adapter.mode", "add", choice(get_args(AdapterMode)), "How adapters change a kernel.", option="adapter"),
    ConfigField("adapter.rank", 1, whole(1), "The rank of adapters.", option="adapter"),
    ConfigField("adapter.init", "uniform", choice(get_args(AdapterInit)), "How adapters start.", option="adapter"),
    ConfigField("all_layers_efficient", False, flag(), "Side modules or adapters on all layers, the head too.",
                option="all_layers_efficient"),

    _joint("mode", "separate", choice(JOINT_MODES), "What later steps have of their own."),
    _joint("separate_layers", "all", text(), "Layers that are separate: `all`, `search`, or names by step."),
    _joint("adjacent_penalty", "l2", choice(tuple(STRENGTHS)), "The penalty between neighbouring steps."),
    _joint("penalty_by_time", False, flag(), "Weight decay grows with the time step."),
    _joint("increasing_loss_weights", False, flag(), "The loss of later steps weighs more."),
    _joint("loss_samples", "all", choice(SAMPLES), "Samples of earlier steps: all, or matched to the final ones."),
    _joint("ablate", False, flag(), "What later steps add has no effect."),
    _joint("sweep_efficient_penalty", False, flag(), "Varies the decay of side modules or adapters."),
    _joint("same_init_over_time", False, flag(), "All steps start from the same random weights."),
    _joint("resume_to_epochs", 0, whole(0), "Trains the winner on, to so many epochs; 0 for not."),
    _joint("resume_patience", 10, whole(0), "The patience of that."),
    _joint("fisher", "batch_sums", choice(FISHERS), "Fisher weights of the penalty `l2_fisher`."),
    _run("joint.matching_memory_gib", MEMORY_GIB, real(above=0), "Limits the distances of one class, in GiB."),

    ConfigField("pretrained.resnet18", "", text("the path of a file"), "ImageNet weights of resnet-4.",
                option="pretrained"),
    _run("analysis.smallest_difference", 1.0, real(), "Points of accuracy; smaller differences are never claimed."),
    ConfigField("search", "grid", choice(("grid", "halving")),
                "Whether all grid points are trained to their end, or the worse half stops after 1/8, 1/4 and 1/2 of the "
                "allowed epochs."),
    ConfigField("training.max_epochs", 100, whole(1), "Epochs at most, where `least_updates` does not allow more."),
    ConfigField("training.least_updates", None, optional(whole(0)),
                "Optimiser updates that every fit is allowed at least; 0 for none."),
    ConfigField("training.batch_size", 100, whole(1), "Samples of a minibatch."),
    ConfigField("training.patience", 5, whole(0), "Epochs without improvement before stopping."),
    ConfigField("training.patience_updates", None, optional(whole(0)),
                "Updates without improvement before stopping, where they are more than `patience` epochs; 0 for none."),
    ConfigField("training.stop_on", "best", choice(("previous", "best")),
                "What counts as improvement: over the previous or over the best epoch."),
    ConfigField("training.ties", "loss", choice(("loss", "first")),
                "Which of equal validation accuracies is best: of the lowest validation loss, then the later epoch, and "
                "never random start weights; or the first, as published."),
    ConfigField("training.train_metrics", "running", choice(("running", "eval")),
                "Training figures from the training passes, or from a pass of their own."),
    ConfigField("training.init_per_grid_point", False, flag(), "Random start weights of its own for each grid point."),
    ConfigField("training.normalise_time_weights", False, flag(), "Gives the weights of `erm_all_weighted` mean 1.",
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
    """The fields that hold a list of texts, which the command line gives with commas."""
    return {
        each.name
        for each in all_fields()
        if isinstance(each.default, (tuple, list))
        and each.kind.wrong(("a",)) is None
        and each.kind.wrong((1,)) is not None
    }


def default_of(name: str) -> Any:
    """A field's default; raises KeyError for a name that is none."""
    return {each.name: each.default for each in all_fields()}[name]
