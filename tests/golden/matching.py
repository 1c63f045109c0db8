"""Reference choice of earlier samples for the joint model: nearest neighbours and optimal matching, step by step."""

import numpy as np

from seqfinal_jax.data.matching.links import Link, Samples, column_copies, links_back
from tests.golden.case import Case, check

COST = 1e-6  # relative; the reference took the norms in single precision


@check(r"neighbors.*\.npz")
def check_neighbours(case: Case) -> None:
    count = sum(key.startswith("x/") for key in case.arrays)
    steps = [Samples(case[f"x/t{t}"], case[f"y/t{t}"]) for t in range(count)]
    case.informational(*(key for key in case.arrays if key.startswith("defective_")))
    for t, link in enumerate(links_back(steps, "nearest_neighbours")):
        compare_link(case, f"nn/{{}}/t{t}", link, steps[t])
        usage = np.bincount(link.positions, minlength=len(steps[t].labels))
        case.compare(f"nn/usage/t{t}", usage, f"nn/usage/t{t}", 0)
    links = links_back(steps, "optimal_matching")
    chosen = [samples.take(link.positions) for samples, link in zip(steps, links, strict=False)]
    for t, link in enumerate(links):
        compare_link(case, f"match/{{}}/t{t}", link, steps[t])
        anchors = chosen[t + 1] if t + 1 < len(chosen) else steps[-1]
        compare_matching(case, t, link, anchors, steps[t])


def compare_link(case: Case, key: str, link: Link, samples: Samples) -> None:
    case.compare(key.format("idx"), link.positions, key.format("idx"), 0)
    case.compare(key.format("y"), samples.labels[link.positions], key.format("y"), 0)


def compare_matching(case: Case, t: int, link: Link, anchors: Samples, samples: Samples) -> None:
    """Which anchor each sample was chosen for, the copies of columns, and the cost of each class."""
    case.compare(f"match/anchor_position/t{t}", link.anchors, f"match/anchor_position/t{t}", 0)
    classes = np.unique(anchors.labels)
    copies = [column_copies(np.sum(anchors.labels == c), np.sum(samples.labels == c)) for c in classes]
    case.compare(f"match/copies/t{t}", copies, f"match/copies/t{t}", 0)
    difference = anchors.images[link.anchors].astype(np.float64) - samples.images[link.positions]
    norms = np.linalg.norm(difference.reshape(len(difference), -1), axis=1)
    costs = [np.sum(norms[anchors.labels[link.anchors] == c]) for c in classes]
    case.compare(f"match/class_cost/t{t}", costs, f"match/class_cost/t{t}", COST, relative=True)
