"""How often the 95 % intervals of a mean hold the true mean, for few differences, as a Markdown table.

python -m benchmarks.coverage [--draws=4000]      about 10 minutes on one idle core

The interval of the report inverts the exact sign-flip test; Student's t stands beside it. Differences are drawn from a
normal distribution, from Student's t with 3 degrees of freedom (symmetric, heavy tails), and from an exponential one
(skewness 2), less its mean.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats

from seqfinal_jax.analysis.statistics import sign_flip_interval

COUNTS = (6, 7, 8, 10, 12, 16, 20)
Interval = Callable[[np.ndarray], tuple[float, float]]
Draw = Callable[[np.random.Generator, int], np.ndarray]
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda random, count: random.standard_normal(count),
    "t(3)": lambda random, count: random.standard_t(3, count),
    "exponential": lambda random, count: random.standard_exponential(count) - 1,
}


def student_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean by Student's t (Student 1908)."""
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


INTERVALS: dict[str, Interval] = {"sign flips": sign_flip_interval, "Student's t": student_interval}


def coverage(interval: Interval, draw: Draw, count: int, draws: int, seed: int = 0) -> float:
    """The share of draws of so many values, whose true mean is 0, that the interval of them holds 0."""
    random = np.random.default_rng([seed, count])
    held = 0
    for _ in range(draws):
        low, high = interval(draw(random, count))
        held += low <= 0 <= high
    return held / draws


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=4000)
    options = parser.parse_args()
    print(f"| n | {' | '.join(f'{name}, {how}' for name in DISTRIBUTIONS for how in INTERVALS)} |")
    print(f"|---:|{'---:|' * (len(DISTRIBUTIONS) * len(INTERVALS))}")
    for count in COUNTS:
        shares = [
            coverage(interval, draw, count, options.draws)
            for draw in DISTRIBUTIONS.values()
            for interval in INTERVALS.values()
        ]
        print(f"| {count} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
