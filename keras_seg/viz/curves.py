"""Learning curves as pictures, drawn with Pillow so that a run folder needs no plotting package."""

import math

import numpy as np

from keras_seg.utils.validation import bad_argument
from keras_seg.viz.panels import INK, PAPER, font

# Okabe and Ito's colours, which colour-blind readers can tell apart; the yellow is too pale for a line.
_LINES = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))
_GRID = (225, 225, 225)
_SCALE = 3  # drawn larger and reduced: Pillow's lines have no smooth edges
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 58, 44


def curve_chart(series, title="", x_label="epoch", width=520, height=340):
    """Lines over 1, 2, 3, ...

    Args:
        series: dict of name -> sequence of numbers, one per epoch; None and NaN leave a gap.
        title: str.
        x_label: str, default "epoch".
        width, height: int, default 520 x 340, pixels.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: no series has a finite number in it.

    Example:

        >>> save_png("loss.png", curve_chart({"train": [1.2, 0.8], "validation": [1.3, 1.0]}, "loss"))
    """
    from PIL import Image, ImageDraw

    series = {name: [math.nan if v is None else float(v) for v in values] for name, values in series.items()}
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    if not finite:
        raise bad_argument("series", "at least one series with a finite number", series)
    ticks = _ticks(min(finite), max(finite), 5)
    steps = max(len(values) for values in series.values())
    right, bottom = width - _RIGHT, height - _BOTTOM

    def x_at(step):
        return _LEFT + (right - _LEFT) * (step - 1) / max(1, steps - 1)

    def y_at(value):
        return bottom - (bottom - _TOP) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    sheet = Image.new("RGB", (width * _SCALE, height * _SCALE), PAPER)
    pen = _Pen(ImageDraw.Draw(sheet))
    pen.text((width / 2, 16), title, 16, "mm")
    pen.text(((_LEFT + right) / 2, height - 12), x_label, 13, "mm")
    for tick in ticks:
        pen.line([(_LEFT, y_at(tick)), (right, y_at(tick))], _GRID, 1)
        pen.text((_LEFT - 8, y_at(tick)), f"{tick:.6g}", 12, "rm")
    for tick in [t for t in _ticks(1, max(2, steps), 8) if t == int(t) and 1 <= t <= steps] or [1]:
        pen.line([(x_at(tick), bottom), (x_at(tick), bottom + 4)], INK, 1)
        pen.text((x_at(tick), bottom + 14), f"{int(tick)}", 12, "mm")
    pen.line([(_LEFT, bottom), (right, bottom)], INK, 1)
    left = _LEFT
    for index, (name, values) in enumerate(series.items()):
        color = _LINES[index % len(_LINES)]
        for points in _unbroken(values, x_at, y_at):
            pen.line(points, color, 2)
        pen.line([(left, 40), (left + 18, 40)], color, 3)
        pen.text((left + 24, 40), name, 13, "lm")
        left += 24 + font(13).getlength(name) + 18
    return np.asarray(sheet.resize((width, height), Image.Resampling.BOX))


def learning_curves(history, columns=2):
    """One chart for each quantity of a training history, training and validation together.

    Args:
        history: dict of name -> sequence of numbers, one per epoch, as `keras.callbacks.History.history` or
            the columns of history.csv; "val_NAME" goes into the chart of "NAME", "epoch" is left out.
        columns: int, default 2. Charts side by side.

    Returns:
        uint8 array (h, w, 3).

    Raises:
        ValueError: no column besides "epoch", or one without a finite number.
    """
    names = dict.fromkeys(name.removeprefix("val_") for name in history if name != "epoch")
    if not names:
        raise bad_argument("history", "the columns of a training history", list(history))
    charts = []
    for name in names:
        lines = {"training": history.get(name), "validation": history.get(f"val_{name}")}
        charts.append(curve_chart({k: v for k, v in lines.items() if v is not None}, name.replace("_", " ")))
    columns = min(columns, len(charts))
    charts += [np.full_like(charts[0], PAPER[0])] * (-len(charts) % columns)
    return np.concatenate(
        [np.concatenate(charts[i : i + columns], 1) for i in range(0, len(charts), columns)], 0
    )


class _Pen:
    """Draws in chart pixels on the enlarged sheet."""

    def __init__(self, draw):
        self._draw = draw

    def line(self, points, color, width):
        points = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(points, fill=color, width=width * _SCALE, joint="curve")

    def text(self, at, text, size, anchor):
        at = (at[0] * _SCALE, at[1] * _SCALE)
        self._draw.text(at, text, fill=INK, font=font(size * _SCALE), anchor=anchor)


def _ticks(low, high, count):
    """About `count` round numbers from at most `low` to at least `high`, a step of 1, 2 or 5 apart."""
    span = high - low or abs(high) or 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _unbroken(values, x_at, y_at):
    """The runs of finite values as lists of points; a lone value becomes a short dash."""
    run = []
    for step, value in enumerate([*values, math.nan], 1):
        if math.isfinite(value):
            run.append((x_at(step), y_at(value)))
        elif run:
            yield run if len(run) > 1 else [(run[0][0] - 2, run[0][1]), (run[0][0] + 2, run[0][1])]
            run = []
