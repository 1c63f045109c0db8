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


# In the order of the published table.
METHODS: dict[str, MethodName] = {
    method.id: method
    for method in (
        MethodName("erm_final", "Final", "ERM final", "reference"),
        MethodName("oracle", "Oracle", "ERM final oracle", "reference"),
        MethodName("erm_all", "ERM", "ERM all", "all data"),
        MethodName("erm_all_weighted", "wERM", "ERM all, weighted", "all data", ("erm_weighted_loss",)),
        MethodName("erm_fine_tune", "FT", "ERM + fine-tune", "history, then adapt"),
    )
}

ALIASES: dict[str, str] = {alias: method.id for method in METHODS.values() for alias in method.aliases}


def method_id(name: str) -> str:
    """The id of a method's id or published name; the name itself when it is unknown."""
    return ALIASES.get(name, name)
