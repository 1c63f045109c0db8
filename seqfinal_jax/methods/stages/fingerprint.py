"""The identity of a node: a hash of everything that determines its result, except the seed."""

import json
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from seqfinal_jax.methods.nodes import Choice, Model, Node, Transform, described
from seqfinal_jax.methods.stages.network import training_of
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import Network
from seqfinal_jax.records.digests import text_digest
from seqfinal_jax.training.engine.optimisers import ADAM

RESULTS_VERSION = 5  # raise by hand when the same configuration comes to give other results


def describe_node(node: Model) -> dict[str, Any]:
    """A stage or transformation as plain data, without the nodes before it."""
    names = [name for name, f in type(node).__dataclass_fields__.items() if f.init]
    before = ("start", "anchors", "inputs", "allowed_as")
    later = {"optimiser": None, "keep": "best"}  # left out at these values, so that older results stay
    alone = {name: getattr(node, name) for name in names if name not in before}
    alone = {name: described(v) for name, v in alone.items() if name not in later or v != later[name]}
    return {**alone, "form": asdict(node.form) if node.form else None}


def node_fingerprint(node: Node, network: Network, training: Training, data_identity: dict[str, Any]) -> str:
    """Hash of node, nodes before it, network, training, data and RESULTS_VERSION; not of role and seed."""
    return _fingerprint(node, network, training, json.dumps(data_identity, sort_keys=True))


@lru_cache(maxsize=65536)
def _fingerprint(node: Node, network: Network, training: Training, identity: str) -> str:
    def of(other: Node) -> str:
        return _fingerprint(other, network, training, identity)

    if isinstance(node, Choice):
        names = {"names": described(node.names)} if node.names else {}
        return _digest("choice", {"candidates": [of(c) for c in node.candidates], "by": node.by, **names})
    content = describe_node(node)
    del content["role"]
    described_whole = {
        "version": RESULTS_VERSION,
        "stage": content,
        "network": _common(network),
        "training": _training(training_of(node, training)),
        "data": json.loads(identity)[node.variant],
    }
    if isinstance(node, Transform):
        before = {"inputs": [of(source) for source in node.inputs]}
    else:
        before = {
            "start": of(node.start) if node.start else None,
            "anchors": [of(anchor) for anchor in node.anchors],
        }
    return _digest(node.name, described_whole | before)


@lru_cache(maxsize=256)
def _common(network: Network) -> list[Any]:
    return [network.name, network.num_classes, asdict(network.config), network.code]


def _training(training: Training) -> dict[str, Any]:
    """The training's fields; of pretrained weights the content counts, not where they lie.

    The stage's own rule holds what the budget and the samples come to.
    """
    fields = asdict(replace(training, pretrained=None, checkpoint=None, optimiser=ADAM, augmentation=None))
    for name in ("budget", "samples", "optimiser", "augmentation"):
        del fields[name]
    for name, usual in (("search", "grid"), ("keep", "best")):  # left out, so that older results stay
        if fields["rule"][name] == usual:
            del fields["rule"][name]
    if training.optimiser != ADAM:
        fields["optimiser"] = described(training.optimiser)
    if training.augmentation:
        fields["augmentation"] = described(training.augmentation)
    fields["pretrained"] = training.pretrained and training.pretrained[1]
    del fields["checkpoint"]  # named where it is set, so that other results stay
    if training.checkpoint:
        fields["checkpoint"] = training.checkpoint[1]
    return fields


def _digest(name: str, content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return f"{name}-{text_digest(text, 6)}"
