"""Pictures: exact pixels where they can be exact, limits and scales by what shows, clear errors."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax import plots

matplotlib = pytest.importorskip("matplotlib")

GREY = 64


def pixels(path):
    """The picture as ``[height, width, 3]`` uint8; raises if it is no valid PNG."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.rint(255 * matplotlib.image.imread(path)[..., :3]).astype(np.uint8)


def draw_grid(path, images=None, **options):
    images = np.zeros((2, 3, 4), np.uint8) if images is None else images
    return plots.image_grid(images, path, **options)


def draw_curves(path, **options):
    history = [{"step": step, "split": "train", "nats": 5.0 - step} for step in range(3)]
    return plots.training_curves(**{"history": history} | options, path=path)


def quadrant(x):
    """Uniform on the unit square of the first quadrant."""
    return jnp.where(((x > 0) & (x < 1)).all(-1), 0.0, -jnp.inf).astype(x.dtype)


def draw_density(path, log_prob=quadrant, **options):
    points = np.random.default_rng(0).uniform(0, 1, (100, 2)).astype(np.float32)
    defaults = {"data": points, "samples": points, "limits": (-1, 1)}
    return plots.density_2d(log_prob, path, **defaults | options)


def colour(fraction):
    return np.array(matplotlib.colormaps["magma"](fraction, bytes=True)[:3])


def where_is(picture, rgb):
    return np.argwhere((picture == rgb).all(-1))


every_plot = pytest.mark.parametrize("draw", [draw_grid, draw_curves, draw_density])


@every_plot
def test_writes_one_png_into_a_new_folder_and_returns_its_path(draw, tmp_path):
    path = tmp_path / "new" / "picture.png"
    assert draw(str(path), title="a title") == path
    assert pixels(path).std() > 0
    assert [entry.name for entry in path.parent.iterdir()] == ["picture.png"]


@every_plot
def test_overwrites_with_the_same_bytes(draw, tmp_path):
    first = draw(tmp_path / "a.png").read_bytes()
    assert draw(tmp_path / "a.png").read_bytes() == first


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OSError, match=r"taken\.png"):
        draw_grid(tmp_path / "taken.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken.png"]


@every_plot
def test_refuses_other_formats(draw, tmp_path):
    with pytest.raises(ValueError, match=r"expected a path ending in \.png, got .*x\.pdf"):
        draw(tmp_path / "x.pdf")
    assert not list(tmp_path.iterdir())


@every_plot
def test_missing_matplotlib_names_the_extra(draw, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'dgmjax\[experiments\]'"):
        draw(tmp_path / "x.png")


def test_image_grid_is_pixel_exact(tmp_path):
    images = np.arange(3 * 2 * 3).reshape(3, 2, 3)
    picture = pixels(plots.image_grid(images, tmp_path / "x.png", columns=2, maximum=17, scale=8))
    gap = 2
    assert picture.shape == (2 * (2 * 8 + gap) + gap, 2 * (3 * 8 + gap) + gap, 3)
    expected = np.full(picture.shape, GREY)
    for index, image in enumerate(images):
        top, left = gap + index // 2 * (16 + gap), gap + index % 2 * (24 + gap)
        levels = np.kron(np.rint(image * 15.0), np.ones((8, 8)))  # 255 / 17 = 15
        expected[top : top + 16, left : left + 24] = levels[..., None]
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("size", [1, 3, 7, 97, 331, 817])
def test_image_grid_has_exactly_the_pixels_it_needs(size, tmp_path):
    images = np.full((1, 1, size), 255, np.uint8)
    picture = pixels(plots.image_grid(images, tmp_path / "x.png", scale=1))
    assert picture.shape == (3, size + 2, 3)
    assert (picture[1, 1:-1] == 255).all()


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 51, 255]),
        (np.array([-0.5, 0.2, 1.5], np.float32), [0, 51, 255]),
        (jnp.array([0, 0.5, 1], jnp.bfloat16), [0, 128, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
    ],
    ids=["integer", "float is clipped", "bfloat16", "boolean"],
)
def test_image_grid_brightness(images, expected, tmp_path):
    picture = pixels(plots.image_grid(images.reshape(1, 1, 3), tmp_path / "x.png", scale=1))
    np.testing.assert_array_equal(picture[1, 1:4], np.repeat(expected, 3).reshape(3, 3))


def test_image_grid_colours_and_nan(tmp_path):
    image = np.array([[[[1.0, 0.2, 0.0], [0.0, np.nan, 0.0]]]])
    picture = pixels(plots.image_grid(image, tmp_path / "x.png", scale=1))
    np.testing.assert_array_equal(picture[1, 1:3], [[255, 51, 0], [255, 0, 0]])


def test_image_grid_title_adds_a_band_above_the_same_pixels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 5), np.uint8)
    bare = pixels(plots.image_grid(images, tmp_path / "a.png", scale=40))
    titled = pixels(plots.image_grid(images, tmp_path / "b.png", scale=40, title="four"))
    np.testing.assert_array_equal(titled[-len(bare) :], bare)
    assert titled[: -len(bare)].min() < 128 < titled[: -len(bare)].max()
    long = pixels(plots.image_grid(images, tmp_path / "c.png", scale=1, title="word " * 20))
    assert long.shape[1] > 500
    assert (long[:, [0, -1]] == 255).all()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((8, 8)), {}, r"expected images of shape \[n, h, w\].*got \(8, 8\)"),
        (np.zeros((1, 8, 8, 2)), {}, r"c = 1 or 3.*got \(1, 8, 8, 2\)"),
        (np.zeros((0, 8, 8)), {}, r"n > 0, got \(0, 8, 8\)"),
        (np.zeros((1, 8, 8)), {"columns": 0}, "expected columns >= 1, got 0"),
        (np.zeros((1, 8, 8)), {"scale": 0}, "expected scale >= 1.*got 0"),
        (np.zeros((1, 8, 8)), {"maximum": 0}, "expected maximum > 0.*got 0"),
    ],
)
def test_image_grid_errors(images, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        plots.image_grid(images, tmp_path / "x.png", **options)


def decaying(**changes):
    """A history with both splits; ``changes`` maps ``split_step`` to another value."""
    return [
        {"step": step, "split": split, "nats": changes.get(f"{split}_{step}", 9 + offset - step)}
        for split, offset in (("train", 0), ("validation", 1))
        for step in range(0, 101, 4)
    ]


def curve_area(path, history, **options):
    """The right half of the picture above the step axis, away from the labels and the legend."""
    picture = pixels(plots.training_curves(history, path, **options))
    return picture[:400, picture.shape[1] // 2 :]


@pytest.mark.parametrize(
    "changes",
    [
        {"train_0": 1e6, "validation_0": 3e5},
        {"train_0": -1e6},
        {"train_40": 1e4},
        {"validation_0": np.nan, "train_0": np.inf},
    ],
    ids=["huge first values", "far below", "a spike", "not finite"],
)
def test_outliers_do_not_move_the_limits(changes, tmp_path):
    usual = curve_area(tmp_path / "a.png", decaying())
    changed = curve_area(tmp_path / "b.png", decaying(**changes))
    assert (usual != changed).mean() < 0.002  # the spike's own line reaches into this half


def test_limits_follow_the_settled_curve(tmp_path):
    usual = curve_area(tmp_path / "a.png", decaying())
    assert (usual != curve_area(tmp_path / "b.png", decaying(train_100=-150.0))).mean() > 0.01


def test_best_step_draws_a_vertical_line(tmp_path):
    bare = curve_area(tmp_path / "a.png", decaying())
    marked = curve_area(tmp_path / "b.png", decaying(), best_step=80)
    rows, columns = np.nonzero((bare != marked).any(-1))
    assert np.ptp(rows) > 0.6 * len(bare)
    assert np.ptp(columns) < 30


def test_bounds_and_other_splits_are_shown(tmp_path):
    plain = decaying()
    shared = [record | {"bound": "exact"} for record in plain]
    differing = [record | {"bound": f"bound of {record['split']}"} for record in plain]
    other = [record | {"split": record["split"].replace("validation", "test")} for record in plain]
    pictures = [
        plots.training_curves(history, tmp_path / f"{index}.png").read_bytes()
        for index, history in enumerate([plain, shared, differing, other])
    ]
    assert len(set(pictures)) == 4


@pytest.mark.parametrize("length", [1, 8], ids=["usual", "very long"])
def test_no_label_is_clipped(length, tmp_path):
    bound = "one-sample bound (uniform dequantization) " * length
    for name, changed in {"shared": {"bound": bound}, "differing": {}}.items():
        history = [{"bound": bound + record["split"]} | record | changed for record in decaying()]
        picture = pixels(
            plots.training_curves(
                history,
                tmp_path / f"{name}.png",
                ylabel="negative log-likelihood [nats] " * length,
                title="the name of the run " * length,
                best_step=80,
            )
        )
        edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
        assert all((edge == 255).all() for edge in edges)


def test_the_legend_lengthens_the_picture_below_the_curves(tmp_path):
    bare = pixels(plots.training_curves(decaying(), tmp_path / "a.png"))
    history = [record | {"bound": "exact"} for record in decaying()]
    headed = pixels(plots.training_curves(history, tmp_path / "b.png"))
    assert len(headed) > len(bare)
    assert (bare[:400] != headed[:400]).mean() < 0.01


def test_records_without_the_quantity_are_skipped(tmp_path):
    extra = [{"step": 50, "split": "train", "images_per_second": 4e4}]
    first = plots.training_curves(decaying(), tmp_path / "a.png").read_bytes()
    assert plots.training_curves(extra + decaying(), tmp_path / "b.png").read_bytes() == first


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [0.0, 0.0], [np.nan, np.nan]])
def test_degenerate_histories_are_drawn(values, tmp_path):
    history = [{"step": i, "split": "train", "nats": value} for i, value in enumerate(values)]
    assert pixels(plots.training_curves(history, tmp_path / "x.png")).std() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantity": "bits"}, "no record has the quantity 'bits'; the 3 records have: nats"),
        ({"history": []}, "the 0 records have: nothing to draw"),
        ({"best_step": 7}, "best_step=7 has no finite value of the train split.* steps 0 to 2"),
    ],
)
def test_training_curves_errors(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw_curves(tmp_path / "x.png", **options)


def test_density_is_drawn_where_it_is(tmp_path):
    picture = pixels(draw_density(tmp_path / "x.png"))
    full, empty = where_is(picture, colour(1.0)), where_is(picture, colour(0.0))
    assert len(full) == pytest.approx(200**2, rel=0.03)  # a quarter of the panel of 400^2 pixels
    assert len(empty) == pytest.approx(3 * 200**2, rel=0.03)
    top, left = np.median(full, axis=0) - np.median(empty, axis=0)
    assert top < -50
    assert left > 50


def test_densities_share_one_colour_scale(tmp_path):
    def low(x):
        return jnp.full(len(x), jnp.log(0.15), x.dtype)

    def high(x):
        return jnp.full(len(x), jnp.log(0.5), x.dtype)

    picture = pixels(draw_density(tmp_path / "x.png", low, true_log_prob=high))
    for fraction in (0.3, 1.0):
        assert len(where_is(picture, colour(fraction))) == pytest.approx(400**2, rel=0.03)


def test_a_spike_does_not_darken_the_rest(tmp_path):
    def spiky(x):
        return jnp.where((jnp.abs(x) < 0.02).all(-1), 1e4, quadrant(x)).astype(x.dtype)

    picture = pixels(draw_density(tmp_path / "x.png", spiky))
    assert len(where_is(picture, colour(1.0))) == pytest.approx(200**2, rel=0.03)


def test_nan_density_is_left_white(tmp_path):
    picture = pixels(draw_density(tmp_path / "x.png", lambda x: jnp.full(len(x), jnp.nan)))
    assert len(where_is(picture, colour(0.0))) < 2000  # no more than the colour bar has


def test_density_is_traced_once_in_the_dtype_of_the_samples(tmp_path):
    shapes = []

    def log_prob(x):
        shapes.append((x.shape, x.dtype))
        return quadrant(x)

    draw_density(tmp_path / "x.png", log_prob, resolution=100)  # 10,000 points: three chunks
    assert shapes == [((4096, 2), jnp.float32)]


def test_default_window_holds_the_data_and_ignores_an_outlier(tmp_path):
    corner = np.array([100.0, -50.0])
    data = corner + np.random.default_rng(0).uniform(0, 1, (1000, 2))
    data[0] = 1e5

    def log_prob(x):
        return quadrant(x - jnp.asarray(corner)[None])

    picture = pixels(
        draw_density(tmp_path / "x.png", log_prob, data=data, samples=data, limits=None)
    )
    share = len(where_is(picture, colour(1.0))) / 400**2
    assert 0.6 < share < 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": np.zeros((5, 3))}, r"expected data of shape \[n, 2\].*got \(5, 3\)"),
        ({"samples": np.zeros(2)}, r"expected samples of shape \[n, 2\].*got \(2,\)"),
        ({"samples": np.zeros((5, 2), int)}, "expected samples of a floating dtype, got int64"),
        ({"limits": (1, 1)}, r"limits \(low, high\), low < high, got \(1, 1\)"),
        ({"resolution": 1}, "expected resolution >= 2 points per axis, got 1"),
        (
            {"log_prob": lambda x: x, "resolution": 8},
            r"learned density's log_prob to map \[64, 2\] to \[64\], got \(64, 2\)",
        ),
    ],
)
def test_density_errors(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw_density(tmp_path / "x.png", **options)


def test_image_grid_names_its_rows_to_the_left_of_the_same_pixels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 9), np.uint8)
    options = {"scale": 6, "maximum": 255}
    named = pixels(
        plots.image_grid(images, tmp_path / "a.png", row_labels=["a", "$b_2"], **options)
    )
    # Images go to the rows in turn: 0 2 4 / 1 3.
    bare = pixels(
        plots.image_grid(images[[0, 2, 4, 1, 3]], tmp_path / "b.png", columns=3, **options)
    )
    np.testing.assert_array_equal(named[:, -bare.shape[1] :], bare)
    assert named.shape[0] == bare.shape[0]
    side = named[:, : -bare.shape[1]]
    assert (side[:, [0, -1]] == 255).all()
    for half in np.split(side, [len(side) // 2]):
        dark = np.flatnonzero((half < 128).any((1, 2)))
        assert abs(dark.mean() - len(half) / 2) < len(half) / 5
    longer = pixels(
        plots.image_grid(
            images, tmp_path / "c.png", row_labels=["a", "b" * 40], title="t", **options
        )
    )
    assert longer.shape[1] > named.shape[1] + 200
    np.testing.assert_array_equal(longer[-len(bare) :, -bare.shape[1] :], bare)
    small = pixels(
        plots.image_grid(np.zeros((90, 1, 50), np.uint8), tmp_path / "d.png", row_labels="x" * 90)
    )
    assert len(small) >= 90 * 20
    blocks = pixels(
        plots.image_grid(images, tmp_path / "e.png", columns=2, row_labels=["a", "b"], **options)
    )
    empty = np.full((3, 4, 9), GREY, np.uint8)  # 0 2 / 4 . / 1 3 / . .
    cells = np.concatenate([images[[0, 2, 4]], empty[:1], images[[1, 3]], empty[1:]])
    bare = pixels(plots.image_grid(cells, tmp_path / "f.png", columns=2, **options))
    np.testing.assert_array_equal(blocks[:, -bare.shape[1] :], bare)


def test_classes_of_points_have_colours_and_names(tmp_path):
    points = np.repeat([[0.25, 0.25], [0.75, 0.75]], 200, axis=0).astype(np.float32)
    labels = np.repeat([0, 2], 200)
    options = {"data": points, "samples": points[:300], "limits": (0, 1)}
    path = draw_density(
        tmp_path / "a.png", classes=(labels, labels[:300]), class_names=("p", "q", "r"), **options
    )
    picture = pixels(path)
    plain = pixels(draw_density(tmp_path / "b.png", **options))
    assert picture.shape[0] > plain.shape[0]  # the legend

    def shown(picture, rgb):
        return (np.abs(picture.astype(int) - rgb).max(-1) < 40).sum()

    tab10 = [np.array(matplotlib.colormaps["tab10"](i, bytes=True)[:3], int) for i in range(3)]
    assert min(shown(picture, tab10[0]), shown(picture, tab10[2])) > 20
    assert max(shown(picture, tab10[1]), shown(plain, tab10[2])) == 0
    without = pixels(draw_density(tmp_path / "c.png", log_prob=None, **options))
    assert without.shape[1] < plain.shape[1]
    with pytest.raises(
        ValueError, match=r"expected classes 0, 1, ... of samples, 300 integers, got"
    ):
        draw_density(tmp_path / "d.png", classes=(labels, labels), **options)
