"""Sweeps: many cells over the devices of a machine or the nodes of a cluster. Starts processes, trains nothing itself."""
