"""A small Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), on which every method runs."""

import flax.linen as nn
import jax

from seqfinal_jax.models.families.architectures import family
from seqfinal_jax.models.network import Network


class Patches(nn.Module):
    """Images (n,h,w,c) to patches (n,p,width) that know their place."""

    width: int
    size: int

    @nn.compact
    def __call__(self, x, mode):
        n, h, w, c = x.shape
        x = x[:, : h - h % self.size, : w - w % self.size]
        x = x.reshape(n, h // self.size, self.size, w // self.size, self.size, c).swapaxes(2, 3)
        x = nn.Dense(self.width, name="embed")(x.reshape(n, -1, self.size * self.size * c))
        return x + self.param("place", nn.initializers.normal(0.02), x.shape[1:])


class Block(nn.Module):
    """Attention and two layers, each behind a layer norm; norms are called bn, so weight decay leaves them out."""

    heads: int = 4

    @nn.compact
    def __call__(self, x, mode):
        attend = nn.MultiHeadDotProductAttention(self.heads, name="attention")
        x = x + attend(nn.LayerNorm(name="bn1")(x))
        y = jax.nn.gelu(nn.Dense(2 * x.shape[-1], name="widen")(nn.LayerNorm(name="bn2")(x)))
        return x + nn.Dense(x.shape[-1], name="narrow")(y)


class Head(nn.Module):
    """The mean over patches to logits."""

    classes: int

    @nn.compact
    def __call__(self, x, mode):
        return nn.Dense(self.classes, name="linear")(nn.LayerNorm(name="bn")(x).mean(1))


@family(
    "my_vit",
    title="a small Vision Transformer",
    blocks=(1, 2, 4),
    reads=("stem_width",),
    small_side_modules=False,
)
def my_vit(num_blocks, num_classes, config):
    """Patches of 7 pixels, blocks of `config.network.stem_width` units, 64 by default."""
    first = ("conv1", Patches(config.stem_width or 64, 7))
    blocks = [(f"layer{k}", Block()) for k in range(1, num_blocks + 1)]
    return Network("my_vit", num_blocks, num_classes, config, (first, *blocks, ("fc", Head(num_classes))))
