"""Contents of the axes of pictures: the lines, bars, grids and colours that were asked for, where they belong."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest

from dgmjax.plots import (
    _plane,
    curve_panels,
    density_2d,
    density_table,
    image_grid,
    pixel_histogram,
    score_histogram,
    training_curves,
)

matplotlib = pytest.importorskip("matplotlib")
# Some modules have the names of their functions.
MODULES = [
    importlib.import_module(f"dgmjax.plots.{name}")
    for name in (
        "curve_panels",
        "curves",
        "density",
        "density_table",
        "images",
        "pixel_histogram",
        "scores",
    )
]


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved."""
    saved = []

    def keep(figure, path):
        saved.append(figure)
        return path

    for module in MODULES:
        monkeypatch.setattr(module, "save_figure", keep)
    return saved


def rgb(colour):
    return matplotlib.colors.to_rgb(colour)


def test_cells_of_a_picture_are_taken_at_their_centres():
    """The window is not square: x runs first, from the lowest y."""
    grid = _plane.picture_grid(np.array([[0.0, 2.0], [10.0, 14.0]]), 2)
    np.testing.assert_allclose(grid, [[0.5, 11.0], [1.5, 11.0], [0.5, 13.0], [1.5, 13.0]])


def test_the_window_is_about_the_data():
    """99.6 % of the data and a tenth of the larger range at each side."""
    data = np.stack([np.linspace(10, 20, 1_001), np.linspace(-3, -1, 1_001)], 1)
    window = _plane.picture_window(data, None)
    np.testing.assert_allclose(
        window, [[15 - 0.6 * 9.96, 15 + 0.6 * 9.96], [-2 - 0.6 * 9.96, -2 + 0.6 * 9.96]]
    )
    np.testing.assert_array_equal(_plane.picture_window(data, (-1.0, 3.0)), [[-1.0, 3.0]] * 2)


def test_a_density_is_that_of_its_points_in_all_batches():
    """5,000 points, 4,096 at a time."""
    grid = np.stack([np.linspace(-2, 2, 5_000), np.zeros(5_000)], 1)
    found = _plane.density_on(lambda x: x[:, 0], jnp.asarray(grid), "a")
    np.testing.assert_allclose(found, np.exp(grid[:, 0]), rtol=1e-6)


def test_a_colour_scale_cuts_spikes_only():
    values = np.linspace(0.0, 1.0, 1_001)
    assert _plane.robust_maximum(values) == 1.0
    assert _plane.robust_maximum(np.append(values, [1.9])) == 1.9
    assert _plane.robust_maximum(np.append(values, [50.0])) < 1.01
    assert _plane.robust_maximum(np.array([np.nan])) == 0.0


def bump(x):
    """Higher to the right, much higher further up."""
    return (x[:, 0] + 10.0 * x[:, 1]).astype(x.dtype)


def test_panels_of_the_plane_have_x_to_the_right_and_y_up(figures, tmp_path):
    points = np.array([[0.5, 3.0], [1.0, 4.0], [1.5, 5.0]])
    density_2d(bump, tmp_path / "a.png", data=points, samples=points[:2], resolution=4)
    data, samples, learned, *_ = figures[-1].axes
    np.testing.assert_allclose(data.collections[0].get_offsets(), points)
    np.testing.assert_allclose(samples.collections[0].get_offsets(), points[:2])
    (image,) = learned.images
    assert image.origin == "lower"
    (x_low, x_high), (y_low, y_high) = _plane.picture_window(points, None)
    assert list(image.get_extent()) == [x_low, x_high, y_low, y_high]
    assert x_high < y_low  # so that axes cannot be taken for each other
    assert (learned.get_xlim(), learned.get_ylim()) == ((x_low, x_high), (y_low, y_high))
    array = np.log(image.get_array())
    step = (x_high - x_low) / 4
    np.testing.assert_allclose(np.diff(array, axis=1), step, rtol=1e-3)
    np.testing.assert_allclose(np.diff(array, axis=0), 10 * step, rtol=1e-3)


def flat(value):
    return lambda x: jnp.full(len(x), np.log(value), x.dtype)


def test_panels_share_the_scale_of_the_highest_density(figures, tmp_path):
    points = np.random.default_rng(0).normal(size=(9, 2))
    density_2d(
        flat(0.2),
        tmp_path / "a.png",
        data=points,
        samples=points,
        true_log_prob=flat(0.7),
        resolution=4,
    )
    panels = [axes.images[0] for axes in figures[-1].axes[2:4]]
    assert [image.get_clim() for image in panels] == [(0.0, pytest.approx(0.7))] * 2


def test_points_and_legend_have_the_colours_of_their_classes(figures, tmp_path):
    """12,000 points are drawn at a stride of three, each with its own class; the legend leaves class 1 out."""
    labels = np.where(np.arange(12_000) < 6_000, 0, 2)
    points = np.random.default_rng(0).normal(size=(12_000, 2))
    density_2d(
        None, tmp_path / "a.png", data=points, samples=points[:100], classes=(labels, labels[-100:]),
        class_names=("p", "q", "r"),
    )  # fmt: skip
    colours = [rgb(c) for c in matplotlib.colormaps["tab10"](np.arange(3))]
    cloud = figures[-1].axes[0].collections[0]
    np.testing.assert_allclose(cloud.get_offsets(), points[::3])
    drawn = cloud.get_facecolors()[:, :3]
    np.testing.assert_allclose(drawn[:2_000], np.tile(colours[0], (2_000, 1)))
    np.testing.assert_allclose(drawn[2_000:], np.tile(colours[2], (2_000, 1)))
    (legend,) = figures[-1].legends
    assert [text.get_text() for text in legend.get_texts()] == ["p", "r"]
    assert [rgb(line.get_color()) for line in legend.get_lines()] == [colours[0], colours[2]]


def test_a_table_of_densities_has_the_scale_of_its_first_row(figures, tmp_path):
    """Rows from the top; a column has one scale, that of the truth."""
    data = {"one": np.random.default_rng(0).normal(size=(50, 2)), "other": np.ones((5, 2))}
    rows = {"truth": {"one": bump, "other": flat(0.5)}, "model": {"one": flat(2.0)}}
    density_table(rows, tmp_path / "a.png", data=data, resolution=8)
    (figure,) = figures
    truth, model, other, empty = figure.axes
    assert truth.get_position().y0 > model.get_position().y0
    assert truth.get_position().x0 == model.get_position().x0 < other.get_position().x0
    assert other.get_position().y0 == truth.get_position().y0
    assert not empty.images
    assert truth.images[0].origin == "lower"
    assert truth.images[0].get_clim() == model.images[0].get_clim()
    assert other.images[0].get_clim() == (0.0, pytest.approx(0.5))
    array = np.log(truth.images[0].get_array())
    assert (np.diff(array, axis=0) > np.diff(array, axis=1).max()).all()
    texts = {text.get_text(): text.get_position() for text in figure.texts}
    assert texts["truth"][1] > texts["model"][1]
    assert texts["one"][0] < texts["other"][0]


def test_a_name_has_its_colour_in_all_panels(figures, tmp_path):
    panels = {
        "left": {"a": ([1, 2], [3.0, np.inf]), "b": ([1, 2, 3], [5.0, 6.0, 7.0])},
        "right": {"b": ([4, 5], [8.0, 9.0])},
    }
    curve_panels(panels, tmp_path / "a.png", xlabel="step", ylabel="nats", title="t")
    (figure,) = figures
    left, right = figure.axes
    first, second = left.lines
    np.testing.assert_array_equal(first.get_xydata(), [[1, 3.0], [2, np.nan]])
    np.testing.assert_array_equal(second.get_xydata(), [[1, 5.0], [2, 6.0], [3, 7.0]])
    np.testing.assert_array_equal(right.lines[0].get_xydata(), [[4, 8.0], [5, 9.0]])
    assert second.get_color() == right.lines[0].get_color() != first.get_color()
    assert [axes.get_title() for axes in (left, right)] == ["left", "right"]
    assert (left.get_ylabel(), right.get_xlabel()) == ("nats", "step")
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert [line.get_color() for line in legend.get_lines()] == [
        first.get_color(),
        second.get_color(),
    ]
    with pytest.raises(ValueError, match="curve 'a' of 'p' has 1 places and 2 values"):
        curve_panels({"p": {"a": ([1], [1.0, 2.0])}}, tmp_path / "a.png", xlabel="", ylabel="")


def test_histograms_are_shares_of_their_own_set(figures, tmp_path):
    """Both ends of the axis cut scores off; the legend has the names in the order of the sets."""
    inside = np.concatenate([np.linspace(0, 1, 998), [-1e6, 1e6]])
    outside = np.linspace(2, 3, 50)
    score_histogram(inside, outside, tmp_path / "a.png", labels=("mine", "yours"), xlabel="bits")
    (axes,) = figures[-1].axes
    blue, orange = axes.patches
    assert blue.get_label() == "mine (1,000, 2 off scale)"
    assert orange.get_label() == "yours (50)"
    assert rgb(blue.get_edgecolor()) == rgb("#4f86bf")
    for patch, total in ((blue, 0.998), (orange, 1.0)):
        values, edges, _ = patch.get_data()
        assert len(values) == 60
        assert values.sum() == pytest.approx(total)
        np.testing.assert_allclose((edges[0], edges[-1]), (0.0, 3.0))
    assert axes.get_xlabel() == "bits"


def test_the_ends_of_a_pixel_histogram_have_their_colour_and_percent(figures, tmp_path):
    values = np.array([[0, 0, 0], [3, 1, 4]])
    pixel_histogram(values, tmp_path / "a.png", num_levels=5)
    (axes,) = figures[-1].axes
    np.testing.assert_allclose(
        [bar.get_height() for bar in axes.patches], np.array([3, 1, 0, 1, 1]) / 6
    )
    np.testing.assert_allclose(
        [bar.get_x() + bar.get_width() / 2 for bar in axes.patches], range(5)
    )
    colours = [rgb(bar.get_facecolor()) for bar in axes.patches]
    assert colours[0] == colours[4] != colours[1] == colours[2] == colours[3]
    assert [text.get_text() for text in axes.texts] == ["0: 50.00 %", "4: 16.67 %"]


def history(values, split="train"):
    return [{"step": step, "split": split, "nats": value} for step, value in values]


def test_curves_are_in_the_order_of_steps_and_mark_validation(figures, tmp_path):
    records = history([(20, 2.0), (10, 3.0), (30, 1.0)]) + history(
        [(20, 4.0), (30, 5.0)], "validation"
    )
    training_curves(records, tmp_path / "a.png", best_step=20)
    (axes,) = figures[-1].axes
    train, validation, _, mark = axes.lines
    np.testing.assert_array_equal(train.get_xydata(), [[10, 3.0], [20, 2.0], [30, 1.0]])
    np.testing.assert_array_equal(validation.get_xydata(), [[20, 4.0], [30, 5.0]])
    assert mark.get_xydata().tolist() == [[20, 4.0]]
    assert mark.get_label() == "best validation: 4 at step 20"


def limits(values, figures, path, **options):
    training_curves(history(values), path / "a.png", **options)
    return figures[-1].axes[0].get_ylim()


def test_limits_are_those_of_the_settled_values(figures, tmp_path):
    """The first 5 % of the steps and what is 3 interquartile ranges outside do not count, but the best does."""
    settled = [
        (step, 1.0 + (step % 2)) for step in range(6, 101)
    ]  # quartiles 1 and 2: fences -2 and 5
    start = [(step, 4.0) for step in range(5)]
    assert limits(start + settled, figures, tmp_path) == pytest.approx((0.94, 2.06))
    assert limits([*start, *settled[:-1], (100, 4.9)], figures, tmp_path) == pytest.approx(
        (1 - 0.06 * 3.9, 4.9 + 0.06 * 3.9)
    )
    assert limits([*start, *settled[:-1], (100, 5.1)], figures, tmp_path) == pytest.approx(
        (0.94, 2.06)
    )
    low, high = limits([*start, *settled[:-1], (100, -9.0)], figures, tmp_path, best_step=100)
    assert low < -9.0
    assert high == pytest.approx(2 + 0.06 * 11)


def test_rows_are_named_in_their_middle(figures, tmp_path):
    """Two rows of images of 4 x 9 at a scale of 6: 24 pixels and a gap of 1."""
    image_grid(np.zeros((2, 4, 9), np.uint8), tmp_path / "a.png", row_labels=["a", "b"], scale=6)
    (figure,) = figures
    height = figure.get_figheight() * figure.dpi
    assert height == pytest.approx(2 * 25 + 1)
    middles = {text.get_text(): (1 - text.get_position()[1]) * height for text in figure.texts}
    assert middles == {"a": pytest.approx(13.0), "b": pytest.approx(38.0)}
