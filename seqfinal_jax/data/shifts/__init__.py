"""Shifts: the record of one (`shift`), the published ones (`published`), and what they do to pixels (`pixels`)."""

from seqfinal_jax.data.shifts import published
from seqfinal_jax.data.shifts.shift import SHIFTS, Occurred, Shift, shift

__all__ = ["SHIFTS", "Occurred", "Shift", "published", "shift"]
