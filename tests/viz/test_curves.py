"""Learning curves: the line goes through the values, whatever they are."""

import numpy as np
import pytest

from keras_seg.viz import curve_chart, learning_curves
from keras_seg.viz.curves import _ticks

pytestmark = pytest.mark.tf_only

BLUE = np.array((0, 114, 178))


def line_rows(chart, column):
    """Rows of the plot in which `column` shows the first line's colour."""
    return np.flatnonzero((np.abs(chart[58:300, column].astype(int) - BLUE) < 30).all(-1))


def test_the_line_goes_from_the_first_value_to_the_last():
    chart = curve_chart({"loss": [0.0, 0.5, 1.0]}, "loss")
    assert chart.shape == (340, 520, 3) and chart.dtype == np.uint8
    rows = [line_rows(chart, column).mean() for column in (64, 282, 500)]
    np.testing.assert_allclose(rows, [237, 119, 1], atol=3)


def test_missing_values_leave_a_gap():
    chart = curve_chart({"loss": [1.0, 1.0, None, float("nan"), 0.5, 0.5]})
    drawn = np.array([len(line_rows(chart, column)) > 0 for column in range(62, 502)])
    assert drawn[:80].all() and drawn[360:435].all() and not drawn[100:340].any()


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [0.0, 0.0], [1e-9, 2e-9], [-5.0, 1e6]])
def test_any_range_of_values(values):
    assert (curve_chart({"a": values}) < 128).any()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.03, 2.14), (-7, 12345), (0.9990, 0.9991), (5, 5), (0, 0), (1e-9, 2e-9)]
)
def test_ticks_are_round_and_span_the_values(low, high):
    ticks = _ticks(low, high, 5)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step and ticks[-1] >= high - 1e-6 * step and 2 <= len(ticks) <= 8
    np.testing.assert_allclose(np.diff(ticks), step, rtol=1e-6)
    assert round(step / 10 ** np.floor(np.log10(step) + 1e-9), 6) in (1, 2, 5)


def test_training_and_validation_share_a_chart():
    history = {"epoch": [0, 1], "loss": [1.0, 0.5], "val_loss": [1.2, 0.7], "mean_iou": [0.2, 0.4]}
    chart = learning_curves(history)
    assert chart.shape == (340, 1040, 3)
    expected = curve_chart({"training": [1.0, 0.5], "validation": [1.2, 0.7]}, "loss")
    np.testing.assert_array_equal(chart[:, :520], expected)
    assert learning_curves({**history, "mean_accuracy": [0.1, 0.2]}).shape == (680, 1040, 3)


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="`series` must be at least one series with a finite number"):
        curve_chart({"loss": [None, float("nan")]})
    with pytest.raises(ValueError, match="`history` must be"):
        learning_curves({"epoch": [1, 2]})
