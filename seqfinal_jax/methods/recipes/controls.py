"""Controls: what training length alone, or a new head alone, explains of what other methods gain."""

from dataclasses import replace

from seqfinal_jax.methods.method import ADAPT, REFERENCE, method
from seqfinal_jax.methods.nodes import Node, Stage
from seqfinal_jax.methods.recipes.fine_tune import erm_linear_probe_fine_tune
from seqfinal_jax.methods.recipes.naming import fixed_name
from seqfinal_jax.methods.recipes.single import erm_final
from seqfinal_jax.methods.setting import Setting

PROBED = {"layers": "linear_probe_fine_tune"}


@method(
    "erm_final_long", column="Final+", legend="ERM final, trained longer", family=REFERENCE, control=True,
    fixed=PROBED, naming=fixed_name, behind="erm_final",
)  # fmt: skip
def erm_final_long(setting: Setting) -> Stage:
    """The final step alone, without early stopping, for as many updates as all stages of LP-FT together may take."""
    return replace(erm_final(setting), allowed_as=(erm_linear_probe_fine_tune(setting),))


@method(
    "linear_probe", column="LP", legend="ERM + linear probe", family=ADAPT, control=True,
    fixed=PROBED, naming=fixed_name, behind="dro_fine_tune",
)  # fmt: skip
def linear_probe(setting: Setting) -> Node:
    """History pooled, then the head alone on the final step: the first two stages of LP-FT."""
    return replace(erm_linear_probe_fine_tune(setting).start, role="final")
