"""Tables with columns of every kind: what goes in comes out, and the likelihood is the known one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm
from dgmjax.distributions import CategoricalVector, TabularDensity
from dgmjax.interop import Bounded, Categories, Circular, Integers, Real, TableDensity, fit_table
from dgmjax.interop.column_codes import completed, decoded, encoded, found_kind, map_of

pandas = pytest.importorskip("pandas")
stats = pytest.importorskip("scipy.stats")
pytestmark = pytest.mark.usefixtures("x32")
SEED = jax.random.key(0)


def known_table(rows: int, seed: int):
    """Real columns, a share, an hour, a number of rooms, and a kind on which all depend; and the log-density."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    mean, angle, share = (
        np.array([0.0, 2.0, -1.0])[kind],
        np.array([0.0, 2.0, -2.0])[kind],
        2 + kind,
    )
    rooms = np.array([0.3, 0.5, 0.7])[kind]
    a = rng.normal(mean, 1.0)
    b = rng.normal(0.5 * a, 0.5)
    s = rng.beta(share, 4)
    phi = stats.vonmises.rvs(2.0, loc=angle, random_state=rng)
    k = rng.binomial(8, rooms)
    table = pandas.DataFrame(
        {
            "a": a,
            "kind": pandas.Categorical(np.array(["x", "y", "z"])[kind], categories=["z", "y", "x"]),
            "b": b,
            "share": s,
            "hour": np.mod(phi / (2.0 * np.pi) * 24.0, 24.0),
            "rooms": k,
        }
    )
    log_prob = np.log(np.array([0.5, 0.3, 0.2])[kind])
    log_prob += stats.norm.logpdf(a, mean, 1.0) + stats.norm.logpdf(b, 0.5 * a, 0.5)
    log_prob += stats.beta.logpdf(s, share, 4) + stats.vonmises.logpdf(phi, 2.0, loc=angle)
    return table, log_prob + np.log(2.0 * np.pi / 24.0) + stats.binom.logpmf(k, 8, rooms)


KINDS = {"share": Bounded(0, 1), "hour": Circular(0, 24), "rooms": Integers(0, 8)}


@pytest.mark.slow
def test_a_table_of_all_kinds_has_its_known_density():
    table, _ = known_table(50_000, 0)
    test, log_prob = known_table(20_000, 1)
    density = fit_table(table, seed=SEED, columns=KINDS, steps=4_000, batch_size=512)
    found = density.log_prob(test, seed=jax.random.key(1), num_samples=64)
    assert abs(float((log_prob - found).mean())) < 0.03


def test_a_table_comes_back_as_it_went_in(tmp_path):
    table, _ = known_table(400, 0)
    table["flag"] = table["a"] > 0
    table["name"] = np.where(table["b"] > 0, "up", "down")
    table["size"] = pandas.Categorical(["S", "M"] * 200, categories=["S", "M", "L"], ordered=True)
    density = fit_table(table, seed=SEED, columns=KINDS, steps=5)
    assert str(density.bound(4)) == (
        "importance-weighted bound, K=4 (densities of 4 columns, uniform dequantization of 1 column, probabilities of "
        "4 columns)"
    )
    drawn = density.sample(500, jax.random.key(1))
    assert list(drawn.columns) == list(table.columns)
    for name in ("kind", "flag", "name", "size", "rooms"):
        assert drawn[name].dtype == table[name].dtype, name
    assert drawn["size"].cat.ordered
    assert set(drawn["name"]) == {"up", "down"}
    assert drawn["share"].between(0, 1).all()
    assert drawn["hour"].between(0, 24).all()
    assert drawn["rooms"].between(0, 8).all()
    turned = table[table.columns[::-1]]
    values = density.log_prob(turned, seed=SEED)
    assert values.index.equals(table.index)
    assert np.isfinite(values).all()
    dgm.save(tmp_path / "table", density)
    loaded = dgm.load(tmp_path / "table")
    pandas.testing.assert_series_equal(loaded.log_prob(table, seed=SEED), values)
    pandas.testing.assert_frame_equal(loaded.sample(9, SEED), density.sample(9, SEED))
    with pytest.raises(ValueError, match="integer columns need noise; pass seed"):
        density.log_prob(table)
    other = table.assign(name="left")
    with pytest.raises(
        ValueError, match=r"column 'name': 400 values are none of its 2 categories, e.g. 'left'"
    ):
        density.log_prob(other, seed=SEED)


def test_arrays_of_integers_are_tables_too():
    x = np.random.default_rng(0).poisson(3.0, (300, 2))
    density = fit_table(x, seed=SEED, steps=5)
    assert density.kinds == [Integers(int(c.min()), int(c.max())) for c in x.T]
    drawn = density.sample(7, SEED)
    np.testing.assert_array_equal(drawn, np.round(drawn))


@pytest.mark.parametrize(
    "kind", [Bounded(2, 5), Bounded(low=2), Bounded(high=5), Circular(2, 5), Integers(2, 5), Real()]
)
def test_maps_of_columns_never_leave_them(kind):
    layer = map_of(kind, 0.7)
    z = jnp.concatenate(
        [30.0 * jax.random.normal(SEED, (100_000, 1)), jnp.array([[1e30], [-1e30]])]
    )
    if isinstance(kind, Circular):
        z = jnp.clip(z, -jnp.pi, jnp.pi)
    x = decoded(
        kind,
        np.floor(layer.forward(z)) if isinstance(kind, Integers) else np.asarray(layer.forward(z)),
    )
    assert np.isfinite(x).all()
    assert (x >= (2 if getattr(kind, "low", None) is not None else -np.inf)).all()
    assert (x <= (5 if getattr(kind, "high", None) is not None else np.inf)).all()


@pytest.mark.parametrize("gap", [1e-3, 1e-20, 1e-34])
def test_log_jacobians_of_bounds_are_exact_to_the_ends(gap):
    """``x / (1 - x)`` is ``x`` there, whose logarithm has the slope ``1 / x``."""
    x = jnp.array([gap], jnp.float32)
    _, log_det = map_of(Bounded(0, 1), 1.0).inverse_and_log_det(x)
    np.testing.assert_allclose(log_det, -np.log(gap) - np.log1p(-gap), rtol=1e-5)
    _, log_det = map_of(Bounded(low=0), 1.0).inverse_and_log_det(x)
    np.testing.assert_allclose(log_det, -np.log(-np.expm1(-gap)), rtol=1e-5)


def test_rows_have_probabilities_times_densities():
    """Two categories of probability 1/4 and 3/4, a normal number, an integer of three equal masses."""
    base = dgm.Flow(dgm.Concatenate([dgm.layers.FixedAffine((1,)), dgm.Logit((1,), 3.0, alpha=0.0)]),
                    dgm.distributions.Product([dgm.distributions.standard_normal((1,)), Logistic()]))  # fmt: skip
    categories = CategoricalVector([2], rngs=nnx.Rngs(0))
    categories.logits[0] = nnx.Param(jnp.log(jnp.array([0.25, 0.75])))

    class Ignoring(dgm.Flow):
        def __init__(self):
            super().__init__(base.bijector, base.base)
            self.context_shape = (2,)

        def log_prob(self, value, context=None, *, key=None):
            return base.log_prob(value)

    density = TabularDensity(["integer", "category", "real"][::-1], Ignoring(), categories)
    rows = jnp.array(
        [[0.5, 1.0, 2.0], [0.5, 0.0, 0.0], [0.5, 1.0, 0.5], [0.5, 2.0, 0.0], [0.5, 0.5, 0.0]]
    )
    found = density.log_prob(rows, seed=SEED)
    normal = -0.5 * 0.25 - 0.5 * np.log(2.0 * np.pi)
    expected = [normal + np.log(0.75 / 3.0), normal + np.log(0.25 / 3.0), -np.inf, -np.inf, -np.inf]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


class Logistic(dgm.Density):
    """The base that a logit map makes of a uniform density."""

    def __init__(self):
        self.event_shape = (1,)

    def log_prob(self, value):
        return jax.scipy.stats.logistic.logpdf(value).sum(-1)


def test_categories_depend_on_those_before():
    model = dgm.testing.scramble(CategoricalVector([3, 3], width=4, rngs=nnx.Rngs(0)), SEED)
    every = jnp.array([[i, j] for i in range(3) for j in range(3)])
    masses = np.exp(model.log_prob(every))
    np.testing.assert_allclose(masses.sum(), 1.0, rtol=1e-5)
    table = masses.reshape(3, 3)
    assert np.abs(table - table.sum(1, keepdims=True) * table.sum(0)).max() > 1e-3
    drawn = np.asarray(model.sample(seed=SEED, sample_shape=40_000))
    found = np.bincount(3 * drawn[:, 0] + drawn[:, 1], minlength=9) / len(drawn)
    np.testing.assert_allclose(found, masses, atol=0.01)
    started = CategoricalVector([2], rngs=nnx.Rngs(0)).with_data_init(jnp.array([[0], [1], [1]]))
    np.testing.assert_allclose(
        jnp.exp(started.log_prob(jnp.array([[0], [1]]))), [0.4, 0.6], rtol=1e-5
    )
    again = started.with_data_init(jnp.zeros((50, 1), jnp.int32))
    np.testing.assert_array_equal(again.logits[0][...], started.logits[0][...])


def test_kinds_are_found_from_dtypes():
    kinds = {
        "float32": Real(), "int16": Integers(), "uint8": Integers(), "bool": Categories(), "str": Categories(),
    }  # fmt: skip
    for dtype, kind in kinds.items():
        assert found_kind(np.array([0, 1, 1]).astype(dtype)) == kind
    assert found_kind(np.array([0, 10**6])) == Real()
    with pytest.raises(TypeError, match="neither a number nor a category"):
        found_kind(np.array(["2020-01-01"], "datetime64[D]"))


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Bounded(0, 1), [0.2, 1.0], "1 values do not lie between 0 and 1, ends excluded, e.g. 1"),
        (Bounded(low=0), [-0.2, -3.0], "2 values do not lie between 0 and inf"),
        (Integers(0, 3), [1.0, 2.5], "1 values are no integers, e.g. 2.5"),
        (Integers(0, 3), [1, 7], r"1 values lie outside of 0 .. 3, e.g. 7"),
        (Categories(("a", "b")), ["a", "c"], "1 values are none of its 2 categories, e.g. 'c'"),
        (Circular(), [0.0, np.nan], "1 values are NaN or infinite"),
    ],
)
def test_values_that_a_kind_excludes_are_counted(kind, values, message):
    with pytest.raises(ValueError, match=message):
        encoded(kind, np.asarray(values))


def test_impossible_kinds_say_what_was_expected():
    table, _ = known_table(50, 0)
    for columns, error, message in (
        ({"rent": Real()}, ValueError, r"\['rent'\] are none of the columns"),
        ({"a": "real"}, TypeError, r"'a': expected Real\(\), Bounded"),
        ({"a": Integers()}, ValueError, "column 'a': 50 values are no integers"),
        ({"kind": Real()}, TypeError, r"columns that are not numbers: \{'kind': 'category'\}"),
        (
            {"a": Integers(0, 10**6)},
            ValueError,
            "column 'a': integers from 0 to 1000000 are more than 65,536",
        ),
    ):
        with pytest.raises(error, match=message):
            fit_table(table, seed=SEED, columns=columns, steps=1)
    with pytest.raises(ValueError, match="Bounded: expected low, high or both"):
        Bounded()
    with pytest.raises(ValueError, match="Circular: expected low < high"):
        Circular(1.0, 1.0)
    with pytest.raises(ValueError, match="1 categories; expected 2 to"):
        completed(Categories(), np.array(["a", "a"]))
    with pytest.raises(ValueError, match="expected a flow with events of shape"):
        TabularDensity(["real", "real"], dgm.RealNVP((3,), rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="the model has 3 dimensions, got 2 kinds"):
        TableDensity(dgm.RealNVP((3,), rngs=nnx.Rngs(0)), kinds=[Real()] * 2)


def test_angles_come_round():
    kind = Circular(0, 24)
    np.testing.assert_allclose(
        encoded(kind, np.array([25.0, -1.0, 24.0, 6.0])), [1.0, 23.0, 0.0, 6.0]
    )
