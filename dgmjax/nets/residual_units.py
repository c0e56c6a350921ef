"""Residual units of classifiers: those that change the shape of images, and stacks of those that do not."""

from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.nets.batch_norm import NetBatchNorm
from dgmjax.nets.pre_activation import PreActivationNet, conv_without_bias
from dgmjax.nets.summary import Module
from dgmjax.numerics.sharding import varying

Shortcut = Literal["pool", "project"]


class Stem(Module):
    """``relu(norm(conv3x3(x)))``, the first layers of a residual network; the convolution may have a stride."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        rngs: nnx.Rngs,
        **normalization: float,
    ):
        self.conv = conv_without_bias(3, in_channels, out_channels, stride=stride, rngs=rngs)
        self.norm = NetBatchNorm(out_channels, **normalization)

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``[*batch, h, w, in_channels] -> [*batch, h / stride, w / stride, out_channels]``."""
        del key
        return jax.nn.relu(self.norm(self.conv(x)))

    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same in training, and the new module."""
        del key
        y, norm = self.norm.apply_and_update(self.conv(x))
        return jax.nn.relu(y), _with(self, norm=norm)


class ShapeShortcut(Module):
    """The identity between images of different shapes.

    ``"pool"``: the mean of blocks of ``stride x stride`` pixels, and zero channels on both sides; no parameters.
    ``"project"``: a 1x1 convolution with the stride. If nothing changes, both are the identity.

    Source: the code of Gomez et al., 2017, arXiv:1707.04585: ``"pool"`` in networks of two 3x3 convolutions a
      function, ``"project"`` in those of bottlenecks.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        kind: Shortcut,
        rngs: nnx.Rngs,
    ):
        self.stride = stride
        self.padding = out_channels - in_channels
        changes = stride > 1 or self.padding != 0
        project = kind == "project" and changes
        self.project = nnx.data(
            conv_without_bias(1, in_channels, out_channels, stride=stride, rngs=rngs)
            if project
            else None
        )
        if not project and self.padding < 0:
            raise ValueError(
                f"ShapeShortcut: zero channels can be added, not taken away: got {in_channels} to {out_channels}."
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[*batch, h, w, in_channels] -> [*batch, h / stride, w / stride, out_channels]``."""
        if self.project is not None:
            return self.project(x)
        if self.stride > 1:
            *batch, height, width, channels = x.shape
            s = self.stride
            x = x.reshape(*batch, height // s, s, width // s, s, channels).mean((-4, -2))
        before = self.padding // 2
        pads = [(0, 0)] * (x.ndim - 1) + [(before, self.padding - before)]
        return jnp.pad(x, pads) if self.padding else x


class ResidualUnit(Module):
    """``y = shortcut(x) + F(x)`` with a `PreActivationNet` ``F``: a unit of a ResNet, whose activations are stored.

    Source: He et al., 2016, *Identity mappings in deep residual networks*, arXiv:1603.05027.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        shortcut: Shortcut = "pool",
        stride: int = 1,
        rngs: nnx.Rngs,
        **branch: Any,
    ):
        self.branch = PreActivationNet(
            in_channels, out_channels, stride=stride, rngs=rngs, **branch
        )
        self.shortcut = ShapeShortcut(
            in_channels, out_channels, stride=stride, kind=shortcut, rngs=rngs
        )

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``[*batch, h, w, in_channels] -> [*batch, h', w', out_channels]``."""
        return self.shortcut(x) + self.branch(x, key=key)

    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same in training, and the new module."""
        moved, branch = self.branch.apply_and_update(x, key=key)
        return self.shortcut(x) + moved, _with(self, branch=branch)


class RevTransition(Module):
    """``y1 = shortcut(x1) + F(x2)``, ``y2 = shortcut(x2) + G(y1)``: RevNet's unit that changes the shape of images.

    Not reversible, as pooling and strides lose something; its activations are stored.

    Source: Gomez et al., 2017, *The reversible residual network*, arXiv:1707.04585, section 3.1, and the authors' code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        shortcut: Shortcut = "pool",
        stride: int = 1,
        activate_first: bool = True,
        rngs: nnx.Rngs,
        **branch: Any,
    ):
        before, after = in_channels // 2, out_channels // 2
        self.f = PreActivationNet(
            before, after, stride=stride, activate_first=activate_first, rngs=rngs, **branch
        )
        self.g = PreActivationNet(after, after, rngs=rngs, **branch)
        self.shortcuts = nnx.List(
            [
                ShapeShortcut(before, after, stride=stride, kind=shortcut, rngs=rngs)
                for _ in range(2)
            ]
        )

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``[*batch, h, w, in_channels] -> [*batch, h', w', out_channels]``."""
        x1, x2 = jnp.split(x, 2, axis=-1)
        y1 = self.shortcuts[0](x1) + self.f(x2, key=key)
        return jnp.concatenate([y1, self.shortcuts[1](x2) + self.g(y1, key=key)], axis=-1)

    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same in training, and the new module."""
        x1, x2 = jnp.split(x, 2, axis=-1)
        moved, f = self.f.apply_and_update(x2, key=key)
        y1 = self.shortcuts[0](x1) + moved
        moved, g = self.g.apply_and_update(y1, key=key)
        y = jnp.concatenate([y1, self.shortcuts[1](x2) + moved], axis=-1)
        return y, _with(self, f=f, g=g)


class ResidualUnits(Module):
    """``num`` units `ResidualUnit` of one shape, one after the other, as one ``lax.scan``: each one's input is stored.

    Tracing and compiling cost those of one unit, as of `dgmjax.Stack`.
    """

    def __init__(self, num: int, channels: int, *, rngs: nnx.Rngs, **branch: Any):
        units = [ResidualUnit(channels, channels, rngs=rngs, **branch) for _ in range(num)]
        self.unit = jax.tree.map(lambda *leaves: jnp.stack(leaves), *units)

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """``[*batch, h, w, channels]`` in and out."""
        x = varying(x, self.unit, key)
        return jax.lax.scan(lambda x, unit: (unit(x, key=key), None), x, self.unit)[0]

    def apply_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """The same in training, and the new module."""

        def body(x: jax.Array, unit: ResidualUnit) -> tuple[jax.Array, Any]:
            x, updated = unit.apply_and_update(x, key=key)
            return x, nnx.state(updated, nnx.Not(nnx.Param))

        x, statistics = jax.lax.scan(body, varying(x, self.unit, key), self.unit)
        new = nnx.clone(self)
        nnx.update(new.unit, statistics)
        return x, new


def _with(module: Any, **parts: nnx.Module) -> Any:
    """A copy of ``module`` with other parts."""
    new = nnx.clone(module)
    for name, part in parts.items():
        setattr(new, name, part)
    return new
