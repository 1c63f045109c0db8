"""One network per time step, derived from a single network: separate layers, side modules, adapters."""
