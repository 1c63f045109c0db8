"""A plain, good PyTorch training loop of our own writing: what the JAX engine is measured against.

Same network, batch, optimiser and penalty. An epoch is "lean" (the training pass and one pass over the validation
set) or "published" (the training pass, then separate passes for loss and for accuracy over training and validation
set, as the published loop makes them).
"""

import time

import torch
from torch.nn import functional as F

from benchmarks.torch_networks import torch_network


class Trainer:
    """One member: a network, its optimiser and hyper-parameters."""

    def __init__(self, architecture: str, classes: int, lr: float, decay: float, rate: float) -> None:
        self.network = torch_network(architecture, classes)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr)
        self.decay, self.rate = decay, rate

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        loss = F.cross_entropy(self.network(x, self.rate), y) + self.decay * self.network.penalty()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def train_pass(self, x: torch.Tensor, y: torch.Tensor, batch: int) -> None:
        self.network.train()
        for index in torch.randperm(len(x)).split(batch):
            self.step(x[index], y[index])

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor, y: torch.Tensor, batch: int) -> tuple[float, float]:
        self.network.eval()
        loss = correct = 0.0
        for xb, yb in zip(x.split(batch), y.split(batch), strict=True):
            logits = self.network(xb)
            loss += F.cross_entropy(logits, yb, reduction="sum").item()
            correct += (logits.argmax(1) == yb).sum().item()
        return loss / len(x), correct / len(x)

    def epoch(self, train: tuple, valid: tuple, batch: int, published: bool) -> None:
        self.train_pass(*train, batch)
        for part in (train, train, valid, valid) if published else (valid,):
            self.evaluate(*part, batch)


def grid_epoch_seconds(
    trainers: list[Trainer], train: tuple, valid: tuple, batch: int, published: bool
) -> float:
    """Seconds of one epoch of every member, one after another."""
    began = time.perf_counter()
    for trainer in trainers:
        trainer.epoch(train, valid, batch, published)
    return time.perf_counter() - began


def step_seconds(trainer: Trainer, train: tuple, batch: int, steps: int) -> float:
    """Seconds of a training step, mean over `steps` minibatches."""
    trainer.network.train()
    x, y = train
    began = time.perf_counter()
    for i in range(steps):
        first = (i * batch) % (len(x) - batch + 1)
        trainer.step(x[first : first + batch], y[first : first + batch])
    return (time.perf_counter() - began) / steps
