"""Trained flows in the real packages: numpyro, blackjax, pandas, distrax, and JAX by itself."""

import json
import pathlib
import re
import subprocess
import sys

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dgmjax as dgm

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "interop.md"


@pytest.fixture(scope="module", autouse=True)
def _as_users_have_it(x32):
    """The packages promote ranks and dtypes."""
    with jax.numpy_rank_promotion("allow"):
        yield


def banana(x):
    """``x0 ~ N(0, 1), x1 | x0 ~ N(x0^2 - 1, 1/4)``: log Z = 0, means 0, variances 1 and 2.25, correlation 0."""
    normal = jax.scipy.stats.norm.logpdf
    return normal(x[0]) + normal(x[1], x[0] ** 2 - 1, 0.5)


def fresh():
    return dgm.IAF((2,), depth=2, width=32, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def flow():
    result = dgm.fit_density(
        fresh(), banana, seed=jax.random.key(0), steps=500, num_samples=128, learning_rate=5e-3
    )
    return result.model


def conditional():
    """A conditional flow whose context matters."""
    flow = dgm.RealNVP((2,), depth=2, width=8, context_shape=(3,), rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(flow, nnx.Param, ...)
    params = jax.tree.map(lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size).reshape(p.shape)), params)
    return nnx.merge(graph, params, rest)


# numpyro


def test_a_flow_is_a_numpyro_distribution(flow):
    dist = pytest.importorskip("numpyro.distributions")
    prior = dgm.interop.to_numpyro(flow)
    assert isinstance(prior, dist.Distribution)
    assert (prior.batch_shape, prior.event_shape, prior.has_rsample) == ((), (2,), True)
    for key in (jax.random.key(1), jax.random.PRNGKey(1)):
        x = prior.sample(key, (4, 3))
        np.testing.assert_array_equal(x, flow.sample(seed=jax.random.key(1), sample_shape=(4, 3)))
    np.testing.assert_allclose(prior.log_prob(x), flow.log_prob(x), rtol=1e-6)
    np.testing.assert_allclose(
        jax.jit(lambda d, x: d.log_prob(x))(prior, x), flow.log_prob(x), rtol=1e-4, atol=1e-4
    )
    two = jax.tree.map(lambda a, b: jnp.stack([a, b]), *map(dgm.interop.to_numpyro, (flow, flow)))
    both = jax.vmap(lambda d, x: d.log_prob(x), in_axes=(0, None))(two, x[:, 0])
    np.testing.assert_allclose(both[1], flow.log_prob(x[:, 0]), rtol=1e-4, atol=1e-4)
    wide = prior.expand((5, 4))
    y, inter = wide.sample_with_intermediates(jax.random.key(2), (3,))
    assert y.shape == (3, 5, 4, 2)
    np.testing.assert_allclose(wide.log_prob(y, inter), flow.log_prob(y), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_batch_of_the_context_is_the_batch_of_the_distribution():
    dist = pytest.importorskip("numpyro.distributions")
    flow = conditional()
    context = jnp.linspace(-1, 1, 12).reshape(4, 3)
    site = dgm.interop.to_numpyro(flow, context)
    assert site.batch_shape == (4,)
    assert site.to_event(1).event_shape == (4, 2)
    x = site.sample(jax.random.key(0), (5,))
    assert x.shape == (5, 4, 2)
    one = flow.log_prob(x[:, 2], context[2])
    np.testing.assert_allclose(site.log_prob(x)[:, 2], one, rtol=1e-4, atol=1e-5)
    assert np.abs(site.log_prob(x)[:, 2] - flow.log_prob(x[:, 2], context[0])).max() > 1e-3
    with pytest.raises(ValueError, match=r"context_shape \(3,\)"):
        dgm.interop.to_numpyro(flow)
    bounded = dgm.Flow(dgm.Elementwise(dgm.SigmoidTransformer(), (2,)))
    site = dgm.interop.to_numpyro(bounded, support=dist.constraints.unit_interval)
    assert site.support.event_dim == 1
    assert not site.support(jnp.array([0.5, 1.5]))


def test_a_bound_is_no_site_of_a_model():
    pytest.importorskip("numpyro")
    model = dgm.Dequantized(dgm.RealNVP((2,), depth=2, width=8, rngs=nnx.Rngs(0)), 17)
    with pytest.raises(TypeError, match="Dequantized model pass its density"):
        dgm.interop.to_numpyro(model)


@pytest.mark.slow
def test_nuts_with_a_trained_prior_finds_the_posterior_that_is_known():
    """Prior N(m, S), fitted from samples; y_i ~ N(z, 1) for 4 rows in a plate: the posterior is a normal."""
    numpyro = pytest.importorskip("numpyro")
    dist = numpyro.distributions
    rng = np.random.default_rng(0)
    mean, cov = np.array([1.0, -2.0]), np.array([[1.0, 0.8], [0.8, 1.0]])
    x = rng.multivariate_normal(mean, cov, size=4_000).astype(np.float32)
    start = dgm.MAF((2,), depth=1, width=8, preprocess=dgm.Standardize((2,)), rngs=nnx.Rngs(0))
    flow = dgm.fit(start, x, seed=jax.random.key(0), steps=300, learning_rate=1e-2).model
    y = np.array([[0.0, 0.5], [0.4, -0.1], [-0.6, 0.3], [0.2, 0.1]], np.float32)

    def model():
        z = numpyro.sample("z", dgm.interop.to_numpyro(flow))
        with numpyro.plate("rows", 4):
            numpyro.sample("y", dist.Normal(z, 1.0).to_event(1), obs=y)

    mcmc = numpyro.infer.MCMC(
        numpyro.infer.NUTS(model), num_warmup=300, num_samples=1_500, progress_bar=False
    )
    mcmc.run(jax.random.key(1))
    z = mcmc.get_samples()["z"]
    precision = np.linalg.inv(cov)
    posterior_cov = np.linalg.inv(precision + 4 * np.eye(2))
    posterior_mean = posterior_cov @ (precision @ mean + y.sum(0))
    np.testing.assert_allclose(z.mean(0), posterior_mean, atol=0.1)
    np.testing.assert_allclose(np.cov(z.T), posterior_cov, atol=0.05)
    assert np.abs(y.mean(0) - posterior_mean).max() > 0.2  # without the prior the test fails


@pytest.mark.slow
def test_svi_with_a_flow_as_guide_reaches_log_z_where_mean_field_does_not():
    numpyro = pytest.importorskip("numpyro")
    dist, infer = numpyro.distributions, numpyro.infer
    start, log_z = fresh(), 1.5

    def model():
        z = numpyro.sample("z", dist.ImproperUniform(dist.constraints.real_vector, (), (2,)))
        numpyro.factor("density", banana(z) + log_z)

    def flow_guide():
        numpyro.sample("z", dgm.interop.numpyro_flow("z", start))

    def bound(guide, steps, rate):
        elbo = infer.Trace_ELBO(num_particles=64)
        svi = infer.SVI(model, guide, numpyro.optim.ClippedAdam(rate), elbo)
        found = svi.run(jax.random.key(0), steps, progress_bar=False)
        many = infer.Trace_ELBO(num_particles=4_000)
        return -many.loss(jax.random.key(1), found.params, model, guide), found.params

    mean_field, _ = bound(infer.autoguide.AutoNormal(model), 300, 0.02)
    with_flow, params = bound(flow_guide, 500, 5e-3)
    # The best factorised normal is 0.6 nats below log Z or more.
    assert mean_field < log_z - 0.3
    assert log_z - 0.1 < with_flow < log_z + 0.02
    trained = dgm.interop.flow_from_numpyro("z", start, params)
    x = trained.sample(seed=jax.random.key(2), sample_shape=(4_000,))
    assert float((jax.vmap(banana)(x) - trained.log_prob(x)).mean()) > -0.1
    assert float(start.log_prob(x).mean()) < float(trained.log_prob(x).mean()) - 0.3
    with pytest.raises(KeyError, match=r"no 'w\$params'"):
        dgm.interop.flow_from_numpyro("w", start, params)


# blackjax


def chain(sampler, key, position, num):
    def step(state, key):
        state, info = sampler.step(key, state)
        return state, (state.position, info.acceptance_rate)

    return jax.lax.scan(step, sampler.init(position), jax.random.split(key, num))[1]


def check_moments(x):
    """``x0`` and ``(x1 - x0^2 + 1) / 0.5`` are independent standard normals."""
    parts = np.stack([x[:, 0], (x[:, 1] - x[:, 0] ** 2 + 1) / 0.5], 1)
    np.testing.assert_allclose(parts.mean(0), [0.0, 0.0], atol=0.12)
    np.testing.assert_allclose(np.cov(parts.T), np.eye(2), atol=0.2)
    assert abs(np.mean(parts[:, 0] ** 2 * parts[:, 1])) < 0.3


@pytest.mark.slow
def test_a_trained_proposal_is_accepted_and_the_chain_is_the_target(flow):
    blackjax = pytest.importorskip("blackjax")

    def run(flow, num):
        sampler = blackjax.irmh(
            banana,
            proposal_distribution=lambda key: flow.sample(seed=key),
            proposal_logdensity_fn=lambda state, proposed: flow.log_prob(proposed.position),
        )
        return jax.jit(lambda key: chain(sampler, key, jnp.zeros(2), num))(jax.random.key(1))

    x, acceptance = run(flow, 4_000)
    check_moments(x[200:])
    assert float(acceptance.mean()) > 0.8
    assert float(run(fresh(), 1_000)[1].mean()) < 0.5


def test_pulled_back_is_the_density_of_the_latents(flow):
    pulled = dgm.interop.pull_back(banana, flow)
    z = jax.random.normal(jax.random.key(0), (200, 2))
    got = jax.vmap(pulled)(z)
    jacobian = jax.vmap(jax.jacfwd(flow.bijector.forward))(z)
    x = flow.bijector.forward(z)
    want = jax.vmap(banana)(x) + jnp.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
    # The flow's own density comes back as that of its base.
    own = jax.vmap(dgm.interop.pull_back(flow.log_prob, flow.bijector))(z)
    np.testing.assert_allclose(own, flow.base.log_prob(z), rtol=1e-3, atol=1e-3)


def test_nuts_in_the_latent_space_samples_the_target(flow):
    blackjax = pytest.importorskip("blackjax")
    pulled = dgm.interop.pull_back(banana, flow)
    nuts = blackjax.nuts(pulled, step_size=0.7, inverse_mass_matrix=jnp.ones(2))
    z, _ = jax.jit(lambda key: chain(nuts, key, jnp.zeros(2), 1_500))(jax.random.key(1))
    check_moments(flow.bijector.forward(z))


# jax.export


ALONE = """
import json, pathlib, sys
import jax, numpy as np
folder, arrays, out = map(pathlib.Path, sys.argv[1:])
read = lambda name: jax.export.deserialize(bytearray((folder / f"{name}.jaxexport").read_bytes()))
log_prob, sample, results = read("log_prob"), read("sample"), {}
for name, given in np.load(arrays).items():
    keys, extra = given[:, :2].astype(np.uint32), given[:, 2:].astype(np.float32)
    extra = [extra] if extra.shape[1] else []
    x = sample.call(keys, *extra)
    noise = [keys] if len(log_prob.in_avals) == 2 + len(extra) else []
    results[f"x{name}"], results[f"log_prob{name}"] = x, log_prob.call(x, *noise, *extra)
    if log_prob.has_vjp():
        results[f"grad{name}"] = jax.grad(lambda x: log_prob.call(x, *noise, *extra).sum())(x)
assert not [m for m in sys.modules if m.split(".")[0] in ("dgmjax", "flax", "distrax")]
np.savez(out, **results)
"""


def models():
    rngs = nnx.Rngs(0)
    levels = dgm.Dequantized(
        dgm.Flow(dgm.Chain([dgm.Logit((2,), 4), dgm.RealNVP((2,), depth=2, width=8, rngs=rngs).bijector])),
        4,
    )  # fmt: skip
    vae = dgm.VAE((4,), latent_dim=2, likelihood="bernoulli", width=8, rngs=rngs)
    return {"conditional": conditional(), "integers": levels, "vae": vae}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conditional", "flow", "integers", "vae"])
def test_an_artifact_gives_the_same_numbers_in_a_process_without_the_library(name, flow, tmp_path):
    pytest.importorskip("flatbuffers")
    model = flow if name == "flow" else models()[name]
    noisy = model.bound().is_noisy
    dgm.interop.export(model, tmp_path / "model", num_samples=3 if noisy else 1)
    given = {}
    for size in (1, 2, 5):
        keys = jax.random.key_data(jax.random.split(jax.random.key(size), size))
        extra = np.linspace(-1, 1, 3 * size).reshape(size, 3)
        columns = [keys, extra] if name == "conditional" else [keys]
        given[str(size)] = np.concatenate([np.asarray(c, np.float64) for c in columns], 1)
    np.savez(tmp_path / "given.npz", **given)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path / "model", tmp_path / "given.npz", tmp_path / "out.npz"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    out = np.load(tmp_path / "out.npz")
    exported = dgm.interop.load_exported(tmp_path / "model")
    assert exported.event_shape == model.event_shape
    assert str(exported.bound()) == str(model.bound(3 if noisy else 1))
    for size, columns in given.items():
        keys = jax.random.wrap_key_data(columns[:, :2].astype(np.uint32))
        keyword = (
            {"context": jnp.asarray(columns[:, 2:], jnp.float32)} if columns.shape[1] > 2 else {}
        )
        shape = {} if keyword else {"sample_shape": (int(size),)}
        if keyword:
            x = jax.vmap(lambda key, c: model.sample(seed=key, context=c))(keys, keyword["context"])
        else:
            x = jax.vmap(lambda key: model.sample(seed=key))(keys)
        near = {"rtol": 1e-4, "atol": 1e-4}
        np.testing.assert_allclose(out[f"x{size}"], x, **near)
        noise = {"seed": keys, "num_samples": 3} if noisy else {}
        np.testing.assert_allclose(
            out[f"log_prob{size}"], model.log_prob(x, **keyword, **noise), **near
        )
        seed = jax.random.key(int(size))
        np.testing.assert_allclose(exported.sample(seed=seed, **shape, **keyword), x, **near)
        seeded = {"seed": seed} if noisy else {}
        np.testing.assert_allclose(
            exported.log_prob(x, **keyword, **seeded), out[f"log_prob{size}"], **near
        )
        if jnp.issubdtype(x.dtype, jnp.floating) and not noisy:
            gradient = jax.grad(lambda x, keyword=keyword: model.log_prob(x, **keyword).sum())(x)
            np.testing.assert_allclose(out[f"grad{size}"], gradient, rtol=1e-3, atol=1e-3)


def test_the_folder_of_an_artifact_describes_itself_and_shows_damage(flow, tmp_path):
    pytest.importorskip("flatbuffers")
    folder = tmp_path / "deep" / "flow"
    dgm.interop.export(flow, folder)
    dgm.interop.export(flow, folder)  # replaced in one piece
    assert [path.name for path in folder.parent.iterdir()] == ["flow"]
    said = json.loads((folder / "density.json").read_text())
    assert said["label"] == "exact"
    assert said["differentiable"]
    assert said["functions"]["log_prob"]["platforms"] == ["cpu", "cuda", "tpu"]
    assert said["functions"]["sample"]["arguments"] == ["uint32[b,2]"]
    exported = dgm.interop.load_exported(folder)
    x = exported.sample(seed=jax.random.key(0), sample_shape=(3, 2))
    assert exported.log_prob(x).shape == (3, 2)
    assert dgm.log_likelihood(exported, x).bound == flow.bound()
    with pytest.raises(TypeError, match="floating"):
        exported.log_prob(jnp.zeros((3, 2), int))
    with pytest.raises(ValueError, match="last 1 axes"):
        exported.log_prob(jnp.zeros((3, 3)))
    content = bytearray((folder / "sample.jaxexport").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "sample.jaxexport").write_bytes(content)
    with pytest.raises(RuntimeError, match=r"sample.jaxexport differs"):
        dgm.interop.load_exported(folder)
    with pytest.raises(FileNotFoundError, match="not an exported model"):
        dgm.interop.load_exported(tmp_path)
    with pytest.raises(FileExistsError, match="not an exported model"):
        dgm.interop.export(flow, tmp_path)


def test_what_cannot_be_exported_says_why(tmp_path, monkeypatch):
    pytest.importorskip("flatbuffers")

    class NoBatch:
        event_shape = (2,)

        def bound(self, num_samples=1):
            return dgm.densities.EXACT

        def log_prob(self, value):
            raise NotImplementedError("needs the data on the host")

    with pytest.raises(ValueError, match=r"NoBatch.log_prob .* needs the data on the host"):
        dgm.interop.export(NoBatch(), tmp_path / "a")
    gan = dgm.GAN((4,), latent_dim=2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="GAN has no likelihood"):
        dgm.interop.export(gan, tmp_path / "b")
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'dgmjax\[interop\]'"):
        dgm.interop.export(fresh(), tmp_path / "c")


# Tables


def known_table(num, seed):
    """Columns of scales 1e-6, 1 and 1e6, the last bent: the log-density of each row is known."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, num))
    columns = {
        "tiny": 3e-6 + 1e-6 * a,
        "unit": 0.8 * a + 0.6 * b,
        "huge": 5e6 + 1e6 * (np.sin(2 * a) + 0.5 * c),
    }
    normal = -0.5 * (a**2 + b**2 + c**2 + 3 * np.log(2 * np.pi))
    return columns, normal - np.log(1e-6) - np.log(0.6) - np.log(0.5e6)


@pytest.mark.slow
def test_the_density_of_a_table_is_in_its_units(tmp_path):
    pandas = pytest.importorskip("pandas")
    columns, _ = known_table(4_000, 0)
    held_out, log_prob = known_table(2_000, 1)
    start = dgm.NeuralSplineFlow(
        (3,), depth=3, width=32, preprocess=dgm.Standardize((3,)), rngs=nnx.Rngs(0)
    )
    density = dgm.interop.fit_table(
        pandas.DataFrame(columns), seed=jax.random.key(0), model=start, steps=400, learning_rate=5e-3
    )  # fmt: skip
    test = pandas.DataFrame(held_out, index=np.arange(2_000) + 7)
    got = density.log_prob(test[["huge", "tiny", "unit"]])
    assert got.index.equals(test.index)
    gap = float(np.mean(log_prob - got.to_numpy()))
    assert -0.02 < gap < 0.12  # nats; a forgotten log-determinant costs 13
    sample = density.sample(2_000, jax.random.key(1))
    assert list(sample.columns) == ["tiny", "unit", "huge"]
    np.testing.assert_allclose(sample.std() / test.std(), 1.0, atol=0.15)
    dgm.save(tmp_path / "table", density)
    again = dgm.load(tmp_path / "table")
    assert again.columns == ["tiny", "unit", "huge"]
    pandas.testing.assert_series_equal(again.log_prob(test), got)


def test_arrays_are_tables_without_names():
    x = np.random.default_rng(0).normal(size=(200, 1)) * 1e4
    density = dgm.interop.fit_table(x, seed=jax.random.key(0), steps=20, validation_share=0.0)
    assert density.columns is None
    assert density.log_prob(x).shape == (200,)
    assert density.sample(5, jax.random.key(0)).shape == (5, 1)
    want = -0.5 * (((x - x.mean()) / x.std()) ** 2 + np.log(2 * np.pi)) - np.log(x.std())
    np.testing.assert_allclose(density.log_prob(x), want[:, 0], atol=0.2)
    with pytest.raises(ValueError, match="NaN or infinite"):
        density.log_prob(np.full((2, 1), np.nan))


def test_tables_that_have_no_density_are_refused_by_column():
    pandas = pytest.importorskip("pandas")
    good, _ = known_table(50, 0)
    fit = lambda table: dgm.interop.fit_table(table, seed=jax.random.key(0), steps=1)  # noqa: E731
    frame = pandas.DataFrame(good)
    with pytest.raises(
        TypeError, match=r"column 'day': its dtype datetime64.* write dates as numbers"
    ):
        fit(frame.assign(day=pandas.Timestamp("2020-01-01")))
    for column, odd in {"text": "a", "flag": True}.items():
        with pytest.raises(ValueError, match=f"column '{column}': 1 categories; expected 2"):
            fit(frame.assign(**{column: odd}))
    flow = dgm.RealNVP((4,), depth=2, width=4, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"not numbers: \{'text': '(object|str)'\}"):
        dgm.interop.fit_table(frame.assign(text="a"), seed=jax.random.key(0), model=flow)
    with pytest.raises(ValueError, match=r"\['same'\] are constant"):
        fit(frame.assign(same=2.0))
    with pytest.raises(ValueError, match=r"\{'unit': 50\}"):
        fit(frame.assign(unit=np.nan))
    with pytest.raises(ValueError, match="at least 20 rows, got 10"):
        fit(frame[:10])
    with pytest.raises(ValueError, match=r"'far' .* float32 cannot resolve; subtract about"):
        fit(frame.assign(far=1.7e9 + frame["unit"]))
    with pytest.raises(TypeError, match="strings or integers"):
        fit(frame.rename(columns={"unit": ("a", "b")}))
    with pytest.raises(TypeError, match="array of numbers or a pandas DataFrame, got list"):
        fit(["a", "b"])
    density = dgm.interop.TableDensity(
        dgm.MAF((3,), depth=1, width=8, rngs=nnx.Rngs(0)), ["tiny", "unit", "huge"]
    )
    with pytest.raises(ValueError, match=r"missing: \['huge'\], not known: \['more'\]"):
        density.log_prob(frame.rename(columns={"huge": "more"}))
    with pytest.raises(TypeError, match="expected a DataFrame with the columns"):
        density.log_prob(frame.to_numpy())
    nullable = frame.astype("Float64")
    nullable.loc[3, "unit"] = pandas.NA
    with pytest.raises(ValueError, match=r"\{'unit': 1\}"):
        density.log_prob(nullable)


# distrax


def test_a_trained_and_loaded_flow_is_a_part_of_distrax(flow, tmp_path):
    dgm.save(tmp_path / "flow", flow)
    loaded = dgm.load(tmp_path / "flow")
    wrapped = dgm.to_distrax(loaded)
    assert isinstance(wrapped, distrax.Distribution)
    shift = distrax.Block(distrax.ScalarAffine(10.0, 2.0), 1)
    bijector = distrax.Chain([shift, dgm.to_distrax(loaded.bijector)])
    normal = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
    x, log_prob = distrax.Transformed(normal, bijector).sample_and_log_prob(
        seed=jax.random.key(0), sample_shape=(50,)
    )
    want = flow.log_prob((x - 10.0) / 2.0) - 2 * np.log(2.0)
    np.testing.assert_allclose(log_prob, want, rtol=1e-3, atol=1e-3)
    assert float(jax.vmap(banana)((x - 10.0) / 2.0).mean()) > -3.5  # -2.14 on average if perfect


def test_a_conditional_flow_with_a_row_a_component_is_a_distrax_mixture():
    flow = conditional()
    context = jnp.array([[1.0, 0.0, 0.0], [0.0, 2.0, -1.0]])
    weights = jnp.array([0.3, 0.7])
    mixture = distrax.MixtureSameFamily(
        distrax.Categorical(probs=weights), dgm.to_distrax(flow, context)
    )
    x = jax.random.normal(jax.random.key(0), (6, 2))
    each = jnp.stack([flow.log_prob(x, row) for row in context], -1)
    want = jax.nn.logsumexp(each + jnp.log(weights), axis=-1)
    np.testing.assert_allclose(mixture.log_prob(x), want, rtol=1e-4, atol=1e-5)
    assert mixture.sample(seed=jax.random.key(0), sample_shape=(5,)).shape == (5, 2)


# The page


def sections():
    first, *rest = PAGE.read_text().split("\n## ")
    return first, {part.splitlines()[0]: part for part in rest}


def code(text):
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


@pytest.mark.slow
def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    for package in ("blackjax", "flatbuffers", "numpyro", "pandas"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    first, parts = sections()
    names: dict = {}
    exec(code(first), names)
    for part in parts.values():
        assert code(part)
        exec(code(part), names)
    assert float(names["log_prob"].call(names["x"]).mean()) > -4.0
    assert float(-names["result"].losses[-50:].mean()) > -0.2
    assert float(names["acceptance"].mean()) > 0.7
    check_moments(names["samples"])
    assert float(names["prior"].log_prob(names["mcmc"].get_samples()["z"]).mean()) > -4.0
