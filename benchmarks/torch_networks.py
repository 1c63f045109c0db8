"""The three families in plain PyTorch, of our own writing, in PyTorch's default initialisation.

Modules carry the names of the published program's state dictionaries, so `models.convert.from_torch` reads them.
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = {1: (512,), 2: (128, 512), 3: (128, 256, 512), 4: (64, 128, 256, 512)}
DENSE_LAYERS = {1: (16,), 2: (6, 16), 3: (6, 12, 16), 4: (6, 12, 24, 16)}
STEM, GROWTH, BOTTLENECK = 64, 32, 128
ARCHITECTURES = tuple(f"{family}-{b}" for family in ("convnet", "resnet", "densenet") for b in (1, 2, 3, 4))


class Network(nn.Module):
    """Stem, blocks, head; dropout after every group but the last."""

    def __init__(self, blocks: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            conv(3, STEM, 7, 2), nn.BatchNorm2d(STEM), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        self.blocks = nn.ModuleList(blocks)
        self.fc = head

    def forward(self, x: torch.Tensor, rate: float = 0.0) -> torch.Tensor:
        for group in (self.conv1, *self.blocks):
            x = F.dropout(group(x), rate, self.training) if rate else group(x)
        return self.fc(x)

    def penalty(self) -> torch.Tensor:
        """Sum of squares of every kernel and of the head's bias."""
        counted = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        return sum(p.square().sum() for module in counted for p in module.parameters())


def conv(width: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, out, size, stride, size // 2, bias=False)


def head(width: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


def conv_block(width: int, out: int, stride: int) -> nn.Module:
    return nn.Sequential(conv(width, out, 3, stride), nn.BatchNorm2d(out))


class BasicUnit(nn.Module):
    """Two 3x3 convolutions with batch norm; the shortcut is a projection where width or size changes."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(width, out, 3, stride), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = conv(out, out, 3), nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or width != out:
            self.downsample = nn.Sequential(conv(width, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def residual_block(width: int, out: int, stride: int) -> nn.Module:
    return nn.Sequential(BasicUnit(width, out, stride), BasicUnit(out, out, 1))


class DenseLayer(nn.Module):
    """Adds `GROWTH` channels, made of all that came before, behind its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(width), conv(width, BOTTLENECK, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(BOTTLENECK), conv(BOTTLENECK, GROWTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.relu(self.norm1(x), inplace=True))
        y = self.conv2(F.relu(self.norm2(y), inplace=True))
        return torch.cat((x, y), 1)


def dense_block(width: int, layers: int) -> nn.Module:
    named = [(f"denselayer{i + 1}", DenseLayer(width + GROWTH * i)) for i in range(layers)]
    return nn.Sequential(OrderedDict(named))


def transition(width: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(width),
            relu=nn.ReLU(inplace=True),
            conv=conv(width, width // 2, 1),
            pool=nn.AvgPool2d(2),
        )
    )


def plain_network(family: str, blocks: int, classes: int) -> Network:
    """ConvNet or ResNet: the stride is 2 in the last three blocks."""
    block = conv_block if family == "convnet" else residual_block
    widths = (STEM, *WIDTHS[blocks])
    strides = (1,) * max(blocks - 3, 0) + (2,) * min(blocks, 3)
    made = [block(a, b, s) for a, b, s in zip(widths[:-1], widths[1:], strides, strict=True)]
    return Network(made, nn.Sequential(*head(widths[-1], classes)))


def dense_network(blocks: int, classes: int) -> Network:
    """DenseNet: a transition follows every block but the last, whose batch norm is the head's."""
    made: list[nn.Module] = []
    width = STEM
    for layers in DENSE_LAYERS[blocks]:
        block, width = dense_block(width, layers), width + GROWTH * layers
        if len(made) < blocks - 1:
            block, width = nn.Sequential(block, transition(width)), width // 2
        made.append(block)
    norm = [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return Network(made, nn.Sequential(*norm, *head(width, classes)))


def torch_network(architecture: str, classes: int) -> Network:
    """The network of a name such as "resnet-2"; ValueError for an unknown one."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    family, blocks = architecture.split("-")
    if family == "densenet":
        return dense_network(int(blocks), classes)
    return plain_network(family, int(blocks), classes)
