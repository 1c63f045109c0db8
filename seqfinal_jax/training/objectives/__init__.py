"""The functions that are minimised, and the state that they keep during a fit."""
