"""Pictures: image grids, training curves, two-dimensional densities, calibration, each written to a PNG.

Needs matplotlib (``pip install 'dgmjax[experiments]'``), imported only when a picture is drawn. No
function touches pyplot's global state, so they are safe in threads and on machines without display.
"""

from dgmjax.plots.calibration_panels import calibration_panels
from dgmjax.plots.curve_panels import curve_panels
from dgmjax.plots.curves import training_curves
from dgmjax.plots.density import density_2d
from dgmjax.plots.density_table import density_table
from dgmjax.plots.images import image_grid
from dgmjax.plots.pixel_histogram import pixel_histogram
from dgmjax.plots.scores import score_histogram

__all__ = [
    "calibration_panels",
    "curve_panels",
    "density_2d",
    "density_table",
    "image_grid",
    "pixel_histogram",
    "score_histogram",
    "training_curves",
]
