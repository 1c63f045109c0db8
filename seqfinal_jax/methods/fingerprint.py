"""The identity of a stage: a hash of all that determines its result, but for the seed."""

import hashlib
import json
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from seqfinal_jax.methods.recipe import Choice, Node, Stage
from seqfinal_jax.methods.stage_training import Training
from seqfinal_jax.models.network import Network

RESULTS_VERSION = 3  # raise by hand when the same configuration comes to give other results


def describe_stage(stage: Stage) -> dict[str, Any]:
    """A stage as plain data, without the stages before it."""
    alone = asdict(replace(stage, start=None, penalty=stage.penalty and replace(stage.penalty, anchors=())))
    del alone["start"]
    return alone


def node_fingerprint(node: Node, network: Network, training: Training, data_identity: dict[str, Any]) -> str:
    """Hash of stage, chain of starts, anchors, network, training, data and RESULTS_VERSION; not of role and seed."""
    return _fingerprint(node, network, training, json.dumps(data_identity, sort_keys=True))


@lru_cache(maxsize=4096)
def _fingerprint(node: Node, network: Network, training: Training, identity: str) -> str:
    def of(other: Node) -> str:
        return _fingerprint(other, network, training, identity)

    if isinstance(node, Choice):
        return _digest("choice", {"candidates": [of(c) for c in node.candidates], "by": node.by})
    content = describe_stage(node)
    del content["role"]
    described = {
        "version": RESULTS_VERSION,
        "stage": content,
        "start": of(node.start) if node.start else None,
        "anchors": [of(anchor) for anchor in node.penalty.anchors] if node.penalty else [],
        "network": [network.name, network.num_classes, asdict(network.config)],
        "training": _training(training),
        "data": json.loads(identity)[node.variant],
    }
    return _digest(node.name, described)


def _training(training: Training) -> dict[str, Any]:
    """The training's fields; of pretrained weights the content counts, not where they lie."""
    fields = asdict(training)
    fields["pretrained"] = training.pretrained and training.pretrained[1]
    return fields


def _digest(name: str, content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return f"{name}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
