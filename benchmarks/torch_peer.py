"""A plain, good PyTorch training loop of our own writing: what the JAX engine is measured against.

Same network, batch, optimiser and penalty, in float32 or, for the forms that say so, in autocast bfloat16 (the forward
pass and its gradients; the parameters and their optimiser stay in float32). An epoch is "lean" (the training pass and
one pass over the validation set) or "published" (the training pass, then separate passes for loss and for accuracy over
training and validation set, as the published loop makes them).
"""

import time
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax
import torch
from torch.nn import functional as F

from benchmarks.torch_networks import torch_network

# Where PyTorch runs: on the GPU if JAX does. Convolutions in float32 like products (cuDNN takes TF32 by itself).
DEVICE = "cuda" if jax.default_backend() == "gpu" else "cpu"
torch.backends.cudnn.allow_tf32 = False

StepForm = Literal[
    "eager", "channels_last", "compiled", "eager bfloat16", "channels_last bfloat16", "compiled bfloat16"
]
FORMS: tuple[StepForm, ...] = get_args(StepForm)
IN_FLOAT32 = tuple(form for form in FORMS if "bfloat16" not in form)


class Trainer:
    """One member: a network, its optimiser and hyper-parameters, in one of PyTorch's forms."""

    def __init__(
        self, architecture: str, classes: int, lr: float, decay: float, rate: float, form: StepForm = "eager"
    ) -> None:
        self.network = torch_network(architecture, classes)
        self.layout = torch.channels_last if "channels_last" in form else torch.contiguous_format
        self.low = "bfloat16" in form
        self.network.to(DEVICE, memory_format=self.layout)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr)
        self.decay, self.rate = decay, rate
        self.loss = torch.compile(self.plain_loss) if "compiled" in form else self.plain_loss

    def autocast(self) -> torch.autocast:
        """A context of its own each time: `torch.compile` would compile anew for every trainer's object."""
        return torch.autocast(DEVICE, torch.bfloat16, enabled=self.low)

    def plain_loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            logits = self.network(x, self.rate)
        return F.cross_entropy(logits.float(), y) + self.decay * self.network.penalty()

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        loss = self.loss(x.contiguous(memory_format=self.layout), y)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def train_pass(self, x: torch.Tensor, y: torch.Tensor, batch: int) -> None:
        self.network.train()
        for index in torch.randperm(len(x), device=DEVICE).split(batch):
            self.step(x[index], y[index])

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor, y: torch.Tensor, batch: int) -> tuple[float, float]:
        self.network.eval()
        loss = correct = 0.0
        for xb, yb in zip(x.split(batch), y.split(batch), strict=True):
            with self.autocast():
                logits = self.network(xb.contiguous(memory_format=self.layout)).float()
            loss += F.cross_entropy(logits, yb, reduction="sum").item()
            correct += (logits.argmax(1) == yb).sum().item()
        return loss / len(x), correct / len(x)

    def epoch(self, train: tuple, valid: tuple, batch: int, published: bool) -> None:
        self.train_pass(*train, batch)
        for part in (train, train, valid, valid) if published else (valid,):
            self.evaluate(*part, batch)


def wait() -> None:
    """Until the GPU has done what it was told; kernels run behind the program's back there."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def working_forms(
    make: Callable[[StepForm], Trainer],
    x: torch.Tensor,
    y: torch.Tensor,
    forms: Sequence[StepForm] = IN_FLOAT32,
) -> dict[StepForm, Trainer]:
    """A trainer of every form that runs here, warmed up; `torch.compile` needs a C++ compiler."""
    torch.compiler.reset()  # its limit of recompilations is one for all networks of a process
    found = {}
    for form in forms:
        try:
            trainer = make(form)
            for _ in range(2):
                trainer.step(x, y)
        except Exception as error:
            print(f"PyTorch, {form}: does not run here ({type(error).__name__})")
        else:
            found[form] = trainer
    return found


def grid_epoch_seconds(
    trainers: list[Trainer], train: tuple, valid: tuple, batch: int, published: bool
) -> float:
    """Seconds of one epoch of every member, one after another."""
    began = time.perf_counter()
    for trainer in trainers:
        trainer.epoch(train, valid, batch, published)
    wait()
    return time.perf_counter() - began


def step_seconds(trainer: Trainer, train: tuple, batch: int, steps: int) -> float:
    """Seconds of a training step, mean over `steps` minibatches."""
    trainer.network.train()
    x, y = train
    began = time.perf_counter()
    for i in range(steps):
        first = (i * batch) % (len(x) - batch + 1)
        trainer.step(x[first : first + batch], y[first : first + batch])
    wait()
    return (time.perf_counter() - began) / steps
