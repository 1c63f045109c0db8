"""All forms of the convolution inside a compiled loop, forward and backward: python -m benchmarks.conv_forms."""

import statistics
import time

import jax
import jax.numpy as jnp

from seqfinal_jax.models.parts import convolution, ops

# (image size, channels in, channels out, kernel, stride, padding): stem and blocks of the ConvNets;
# The last two are a basic unit of a ResNet and the dense layer's second convolution, which keep height and width.
LAYERS = [
    (32, 3, 64, 7, 2, 3),
    (8, 64, 512, 3, 2, 1),
    (4, 128, 512, 3, 2, 1),
    (4, 512, 512, 3, 1, 1),
    (8, 128, 32, 3, 1, 1),
]
FORMS = ("patches", "shifts", "native")


def seconds(form: str, layer: tuple, steps: int = 4, repeats: int = 3) -> float:
    size, channels, features, kernel, stride, padding = layer
    x = jax.random.normal(jax.random.key(0), (100, size, size, channels))
    weights = ops.uniform_fan_in(
        jax.random.key(1), (kernel, kernel, channels, features), kernel**2 * channels
    )

    def loss(weights, x):
        return jnp.sum(jnp.square(convolution.conv(x, weights, stride, padding, form)))

    def step(i, weights):
        return weights - 1e-9 * jax.grad(loss)(weights, x)

    run = jax.jit(lambda weights, n: jax.lax.fori_loop(0, n, step, weights))
    jax.block_until_ready(run(weights, 1))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run(weights, steps))
        times.append((time.perf_counter() - began) / steps)
    return statistics.median(times)


def main() -> None:
    print(f"jax {jax.__version__}, {jax.default_backend()}, batch 100, gradient of the kernel, median ms")
    print(f"| layer | {' | '.join(FORMS)} |\n|{'---|' * (1 + len(FORMS))}")
    for layer in LAYERS:
        keeps_size = layer[4] == 1
        times = [seconds(form, layer) if keeps_size or form != "shifts" else None for form in FORMS]
        name = f"{layer[0]}x{layer[0]}, {layer[1]} to {layer[2]}, {layer[3]}x{layer[3]}"
        cells = ["" if each is None else f"{1e3 * each:.1f}" for each in times]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
