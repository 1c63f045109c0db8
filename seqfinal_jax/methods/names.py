"""Every method's id, its column in the published table, its legend in figures, and its family."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodName:
    """How one method is called; `aliases` are the published directory names."""

    id: str
    column: str
    legend: str
    family: str
    aliases: tuple[str, ...] = ()


ALL, ADAPT, FOLLOW = "all data", "history, then adapt", "sequential"

# In the order of the published table.
METHODS: dict[str, MethodName] = {
    method.id: method
    for method in (
        MethodName("erm_final", "Final", "ERM final", "reference"),
        MethodName("oracle", "Oracle", "ERM final oracle", "reference"),
        MethodName("erm_all", "ERM", "ERM all", ALL),
        MethodName("irm_all", "IRM", "IRM", ALL),
        MethodName("dro_all", "DRO", "DRO", ALL),
        MethodName("erm_all_weighted", "wERM", "ERM all, weighted", ALL, ("erm_weighted_loss",)),
        MethodName("erm_fine_tune", "FT", "ERM + fine-tune", ADAPT),
        MethodName("irm_fine_tune", "I-FT", "IRM + fine-tune", ADAPT),
        MethodName("dro_fine_tune", "D-FT", "DRO + fine-tune", ADAPT),
        MethodName(
            "erm_linear_probe_fine_tune", "LP-FT", "ERM + LP-FT", ADAPT, ("erm_linear_probe_then_fine_tune",)
        ),
        MethodName("erm_side_tune", "ST-1", "ERM + side-tune", ADAPT),
        MethodName("erm_side_tune_block", "ST-B", "ERM + side-tune block", ADAPT),
        MethodName("sequential_fine_tune", "SFT", "SFT", FOLLOW),
        MethodName("sequential_fine_tune_none", "SFT none", "SFT no decay", FOLLOW),
        MethodName(
            "sequential_fine_tune_linear",
            "SFT lin",
            "SFT lin decay",
            FOLLOW,
            ("sequential_fine_tune_linear_lr_decay",),
        ),
        MethodName(
            "sequential_fine_tune_exponential",
            "SFT exp",
            "SFT exp decay",
            FOLLOW,
            ("sequential_fine_tune_exponential_lr_decay",),
        ),
        MethodName("sequential_ewc", "EWC", "EWC", FOLLOW, ("sequential_fine_tune_reg_all_previous_fisher",)),
        MethodName("sequential_side_tune", "SST-1", "sequential side tune", FOLLOW),
        MethodName("sequential_side_tune_block", "SST-B", "sequential side tune block", FOLLOW),
        MethodName("joint", "JM", "joint model", "joint", ("joint_model_adjacent_reg_l2",)),
        MethodName(
            "joint_side_tune",
            "JST-1",
            "joint with side layer",
            "joint",
            ("joint_model_side_tune_adjacent_reg_none",),
        ),
        MethodName(
            "joint_side_tune_block",
            "JST-B",
            "joint with side block",
            "joint",
            ("joint_model_side_tune_block_adjacent_reg_none",),
        ),
    )
}

ALIASES: dict[str, str] = {alias: method.id for method in METHODS.values() for alias in method.aliases}


# The published table's row: every method but weighted ERM and the three chains that SFT chooses from.
NOT_IN_ROW = frozenset(
    {
        "erm_all_weighted",
        "sequential_fine_tune_none",
        "sequential_fine_tune_linear",
        "sequential_fine_tune_exponential",
    }
)
FULL_ROW: tuple[str, ...] = tuple(name for name in METHODS if name not in NOT_IN_ROW)


def method_id(name: str) -> str:
    """The id of a method's id or published name; the name itself when it is unknown."""
    return ALIASES.get(name, name)
