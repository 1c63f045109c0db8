"""Weights of time steps."""


def increasing_weights(num_steps: int) -> tuple[float, ...]:
    """1/(number of steps up to and with the last one): 1/4, 1/3, 1/2, 1 for four steps; not normalised."""
    return tuple(1 / (num_steps - step) for step in range(num_steps))
