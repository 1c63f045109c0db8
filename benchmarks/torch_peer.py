"""A plain, good PyTorch training loop of our own writing, for the ConvNets: what the JAX engine is measured against.

Same network, batch, optimiser and penalty. An epoch is "lean" (the training pass and one pass over the validation
set) or "published" (the training pass, then separate passes for loss and for accuracy over training and validation
set, as the published loop makes them).
"""

import time

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = {1: (512,), 2: (128, 512), 3: (128, 256, 512), 4: (64, 128, 256, 512)}


class ConvNet(nn.Module):
    """Stem, blocks of one convolution and batch norm, linear head; dropout after every group but the last."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        strides = (1,) * max(blocks - 3, 0) + (2,) * min(blocks, 3)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = (64, *WIDTHS[blocks])
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b))
            for a, b, s in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        self.head = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor, rate: float = 0.0) -> torch.Tensor:
        for layer in (self.stem, *self.blocks):
            x = F.dropout(layer(x), rate, self.training) if rate else layer(x)
        return self.head(x.mean((2, 3)))

    def penalty(self) -> torch.Tensor:
        kernels = [m.weight for m in self.modules() if isinstance(m, nn.Conv2d)]
        return sum(k.square().sum() for k in (*kernels, self.head.weight, self.head.bias))


class Trainer:
    """One member: a network, its optimiser and hyper-parameters."""

    def __init__(self, blocks: int, classes: int, lr: float, decay: float, rate: float) -> None:
        self.network = ConvNet(blocks, classes)
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
