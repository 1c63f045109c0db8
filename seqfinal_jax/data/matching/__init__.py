"""Samples of earlier steps that stand in for those of the final one."""
