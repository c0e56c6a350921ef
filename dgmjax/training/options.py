"""Options that `dgmjax.fit` cannot combine, refused before it begins."""

import jax
import jax.numpy as jnp


def check_options(
    *,
    seed: jax.Array,
    ema_decay: float,
    max_skipped: int,
    accumulate: int,
    debug_nans: bool,
    needs_validation: bool,
) -> None:
    """Raises TypeError or ValueError for settings that mean nothing; their names are those of `dgmjax.fit`."""
    if not 0.0 <= ema_decay < 1.0:
        raise ValueError(f"fit: ema_decay must be in [0, 1), got {ema_decay}.")
    if not jnp.issubdtype(jnp.result_type(seed), jax.dtypes.prng_key):
        raise TypeError(f"fit: seed must be a typed key, jax.random.key(0), got {seed!r}.")
    if max_skipped < 1 or accumulate < 1:
        raise ValueError(
            f"fit: max_skipped and accumulate must be at least 1, got {max_skipped} and {accumulate}."
        )
    if debug_nans and jax.process_count() > 1:
        raise ValueError("fit: debug_nans looks at one process; continue the run with one.")
    if needs_validation:
        raise ValueError("fit: patience counts evaluations on validation data; pass validation=...")
