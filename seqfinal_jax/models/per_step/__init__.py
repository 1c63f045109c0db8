"""A network for every time step, made of one: separate layers, side modules, adapters."""
