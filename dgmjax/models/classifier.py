"""What classifiers of images share: the data they take, logits, and one more time in training."""

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from dgmjax.checks import batch_shape, floating_dtype
from dgmjax.densities.bound import Bound
from dgmjax.nets.batch_norm import NetBatchNorm
from dgmjax.nets.summary import Module
from dgmjax.numerics.compiled import compiled

_LINEAR_INIT = nnx.initializers.variance_scaling(1.0, "fan_in", "uniform")


class Classifier(Module):
    """``p(label | x) = softmax(W features(x) + b)`` for images ``x``, with batch normalization somewhere below.

    A subclass sets the attributes and implements `body`, images to images, and `body_and_update`, the same in training
    with the new module; here are the last normalization, ``relu``, the mean over the pixels and the linear layer.
    Evaluation uses running statistics, training those of the batch: `logits_and_update` returns the model that has
    accumulated them. Train with ``dgmjax.fit(model, images, context=labels, loss=dgmjax.objectives.cross_entropy,
    validation_loss=dgmjax.objectives.classification_errors, monitor="error")``.

    Attributes:
      event_shape: ``(h, w, c)``.
      num_classes: number of classes.
      num_levels: number of levels of integer images, which are scaled to [0, 1]; None for floats as they are.
    """

    event_shape: tuple[int, ...]
    num_classes: int
    num_levels: int | None

    def set_head(
        self,
        num_features: int,
        num_classes: int,
        *,
        momentum: float,
        epsilon: float,
        rngs: nnx.Rngs,
    ) -> None:
        """Make the last layers, in the constructor of a subclass."""
        if num_classes < 2:
            raise ValueError(
                f"{type(self).__name__}: expected at least 2 classes, got num_classes={num_classes}."
            )
        self.num_classes = num_classes
        self.last_norm = NetBatchNorm(num_features, momentum=momentum, epsilon=epsilon)
        kernel = _LINEAR_INIT(rngs.params(), (num_features, num_classes), jnp.float32)
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(num_classes, jnp.float32))

    def bound(self, num_samples: int = 1) -> Bound:
        """There is no density of images; ``nats`` of a classifier are the cross-entropy of its labels."""
        del num_samples
        return Bound("no likelihood")

    @property
    def context_shape(self) -> tuple[int]:
        """``(num_classes,)``: labels reach losses as one-hot contexts."""
        return (self.num_classes,)

    @compiled
    def scaled(self, x: jax.Array) -> jax.Array:
        """Integers ``0 .. num_levels - 1`` as floats in [0, 1]; floats as they are.

        Raises:
          TypeError: integers, and the model does not know their number of levels.
          ValueError: images of another shape.
        """
        x = jnp.asarray(x)
        batch_shape(x, self.event_shape, where=type(self).__name__)
        if jnp.issubdtype(x.dtype, jnp.floating):
            return x
        if self.num_levels is None:
            raise TypeError(
                f"{type(self).__name__}: expected floats, got {x.dtype}; build the model with num_levels= for integer "
                f"images."
            )
        return x.astype(floating_dtype(self)) / (self.num_levels - 1)

    def body(self, x: jax.Array) -> jax.Array:
        """Scaled images ``[*batch, h, w, c]`` to the images ``[*batch, h', w', d]`` that the head sees."""
        raise NotImplementedError(f"{type(self).__name__} has no body.")

    def body_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """`body` in training, and the new module; ``key`` switches dropout on."""
        raise NotImplementedError(f"{type(self).__name__} has no body_and_update.")

    @compiled
    def features(self, x: jax.Array) -> jax.Array:
        """What the last, linear layer sees: ``[*batch, h, w, c] -> [*batch, d]``."""
        return _pooled(self.last_norm(self.body(self.scaled(x))))

    @compiled
    def logits(self, x: jax.Array) -> jax.Array:
        """Unnormalised log-probabilities of the classes: ``[*batch, h, w, c] -> [*batch, num_classes]``."""
        return self._linear(self.features(x))

    @compiled
    def logits_and_update(
        self, x: jax.Array, *, key: jax.Array | None = None
    ) -> tuple[jax.Array, Self]:
        """`logits` in training: statistics of the batch, which the new module has accumulated; this one stays.

        Args:
          x: a batch of images.
          key: one, or one an example: dropout.
        """
        hidden, new = self.body_and_update(self.scaled(x), key=key)
        hidden, last_norm = self.last_norm.apply_and_update(hidden)
        new.last_norm = last_norm
        return self._linear(_pooled(hidden)), new

    @compiled
    def predict(self, x: jax.Array) -> jax.Array:
        """The most probable class, int32 ``[*batch]``."""
        return self.logits(x).argmax(-1).astype(jnp.int32)

    def _linear(self, features: jax.Array) -> jax.Array:
        logits = features @ self.kernel[...].astype(features.dtype)
        return logits + jnp.broadcast_to(self.bias[...].astype(features.dtype), logits.shape)


def _pooled(x: jax.Array) -> jax.Array:
    return jax.nn.relu(x).mean((-3, -2))


def check_classifier(
    name: str, event_shape: tuple[int, ...], units: Any, num_levels: int | None
) -> None:
    """Reject what classifiers cannot be built from.

    Raises:
      ValueError: no image, stages without units, or fewer than 2 levels.
    """
    if len(event_shape) != 3 or not units or min(units) < 1:
        raise ValueError(
            f"{name}: expected images (h, w, c) and at least one unit in every stage, got event_shape {event_shape} "
            f"and {tuple(units)}."
        )
    if num_levels is not None and num_levels < 2:
        raise ValueError(f"{name}: num_levels must be at least 2, got {num_levels}.")
