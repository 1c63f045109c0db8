"""Sweeps: the cells of one or several configurations, over the devices of a machine or the nodes of a cluster."""
