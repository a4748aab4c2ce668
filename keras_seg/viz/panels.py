"""Panels for people: image, truth and prediction side by side, with titles and a legend of the classes."""

import numpy as np

from keras_seg.utils.palette import class_colors
from keras_seg.utils.validation import bad_argument
from keras_seg.viz.overlays import IGNORED, color_mask, rgb_image

PAPER = (255, 255, 255)
INK = (40, 40, 40)
_FRAME = (170, 170, 170)
_GAP = 10
_FONT_SIZE = 15
_LINE = 26
_SWATCH = 16
_NARROWEST, _WIDEST = 256, 512  # pixels of one picture in a panel


def panel(image, truth, prediction, class_names=None, colors=None, ignore_class=None):
    """One row: image | truth | prediction, with titles above and a legend of the classes below.

    Args:
        image: array (H, W), (H, W, 1) or (H, W, 3), 0..255.
        truth: integer array (H, W) of class ids, or None to leave it out.
        prediction: integer array (H, W) of class ids, or None to leave it out.
        class_names: sequence of str or None. Class 0 first; None makes no legend.
        colors: array (K, 3), 0..255 RGB. Default: `keras_seg.utils.palette.class_colors`.
        ignore_class: int or None. Ignored pixels of the truth are cream, in the prediction too: what is
            predicted there counts nowhere.

    Returns:
        uint8 array (h, w, 3). Small pictures are enlarged to a width of 256 pixels, and large ones reduced
        to 512.

    Raises:
        ValueError: sizes differ, or a class id has no colour.

    Example:

        >>> save_png("panel.png", panel(image, truth, classes, ["background", "cell"]))
    """
    return grid([(image, truth, prediction)], class_names, colors, ignore_class)


def grid(rows, class_names=None, colors=None, ignore_class=None, titles=("image", "truth", "prediction")):
    """Several rows of pictures under one line of titles, with one legend.

    Args:
        rows: list of tuples (image, mask, ...), each with as many masks as `titles` has entries after the
            first; a mask that is None in all rows leaves its column out.
        class_names, colors, ignore_class: as for `panel`.
        titles: sequence of str. Default: image, truth, prediction.

    Returns:
        uint8 array (h, w, 3).
    """
    if not rows or any(len(row) != len(titles) for row in rows):
        raise bad_argument(
            "rows", f"tuples of {len(titles)}, one item for each title", [len(row) for row in rows]
        )
    kept = [i for i in range(len(titles)) if any(row[i] is not None for row in rows)]
    width = min(max(_NARROWEST, *(np.shape(row[0])[1] for row in rows)), _WIDEST)
    lines = [_pictures([row[i] for i in kept], kept, width, colors, ignore_class) for row in rows]
    total = _GAP + len(kept) * (width + _GAP)
    key = [] if class_names is None else [legend(class_names, colors, ignore_class is not None, total)]
    return _sheet(lines, [titles[i] for i in kept], width, key)


def picture_grid(rows, titles, width=_WIDEST):
    """Rows of finished pictures under one line of titles, each at the width of its column.

    Args:
        rows: list of sequences of uint8 arrays (h, w, 3), one for each title; None leaves a gap.
        titles: sequence of str.
        width: int, default 512. Pixels of a column.

    Returns:
        uint8 array (h, w, 3).

    Raises:
        ValueError: no rows, or not a picture for each title.
    """
    if not rows or any(len(row) != len(titles) for row in rows):
        raise bad_argument(
            "rows", f"sequences of {len(titles)} pictures, one a title", [len(row) for row in rows]
        )
    return _sheet([[_at_width(picture, width) for picture in row] for row in rows], titles, width, [])


def _at_width(picture, width):
    from PIL import Image

    if picture is None:
        return None
    size = (width, max(1, round(picture.shape[0] * width / picture.shape[1])))
    return Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS)


def _sheet(lines, titles, width, key):
    """Lines of PIL images, or None for a gap, under their titles, and the parts of a legend below."""
    from PIL import Image, ImageDraw

    heights = [max((picture.height for picture in line if picture is not None), default=0) for line in lines]
    total = _GAP + len(titles) * (width + _GAP)
    height = _LINE + sum(side + _GAP for side in heights) + sum(len(part) for part in key)
    sheet = Image.new("RGB", (total, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        middle = _GAP + column * (width + _GAP) + width // 2
        draw.text((middle, _LINE // 2), title, fill=INK, font=font(), anchor="mm")
    top = _LINE
    for line, side in zip(lines, heights, strict=True):
        for column, picture in enumerate(line):
            if picture is not None:
                sheet.paste(picture, (_GAP + column * (width + _GAP), top))
        top += side + _GAP
    for part in key:
        sheet.paste(Image.fromarray(part), (0, top))
    return np.asarray(sheet)


def legend(class_names, colors=None, ignored=False, width=800):
    """Colours and names of the classes, in as many lines as the width asks for.

    Args:
        class_names: sequence of str, class 0 first.
        colors: array (K, 3), 0..255 RGB. Default: `keras_seg.utils.palette.class_colors`.
        ignored: bool, default False. Add the colour of ignored pixels.
        width: int, default 800, pixels.

    Returns:
        uint8 array (h, width, 3).
    """
    from PIL import Image, ImageDraw

    colors = class_colors(max(1, len(class_names))) if colors is None else np.asarray(colors, "uint8")
    if len(colors) < len(class_names):
        raise bad_argument(
            "colors", f"a colour for each of {len(class_names)} classes", f"{len(colors)} colours"
        )
    entries = [(str(name), tuple(color.tolist())) for name, color in zip(class_names, colors, strict=False)]
    entries += [("ignored", IGNORED)] * ignored
    places, left, line = [], _GAP, 0
    for name, _ in entries:
        needed = _SWATCH + 6 + int(font().getlength(name)) + 2 * _GAP
        if left > _GAP and left + needed > width:
            left, line = _GAP, line + 1
        places.append((left, line * _LINE))
        left += needed
    sheet = Image.new("RGB", (width, (line + 1) * _LINE + _GAP // 2), PAPER)
    draw = ImageDraw.Draw(sheet)
    for (name, color), (left, top) in zip(entries, places, strict=True):
        inset = (_LINE - _SWATCH) // 2
        box = (left, top + inset, left + _SWATCH - 1, top + inset + _SWATCH - 1)
        draw.rectangle(box, fill=color, outline=_FRAME)
        draw.text((left + _SWATCH + 6, top + _LINE // 2), name, fill=INK, font=font(), anchor="lm")
    return np.asarray(sheet)


def font(size=_FONT_SIZE):
    """The font that comes with Pillow."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _pictures(items, kept, width, colors, ignore_class):
    """The pictures of one row at a common size; None where there is no mask."""
    from PIL import Image

    image = rgb_image(items[0])
    size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
    # Enlarged pixels stay square pixels: a smooth enlargement would show detail that the network never saw.
    smooth = Image.Resampling.LANCZOS if width < image.shape[1] else Image.Resampling.NEAREST
    pictures = [Image.fromarray(np.ascontiguousarray(image)).resize(size, smooth)]
    truth = items[1] if 1 in kept else None
    for mask in items[1:]:
        if mask is None:
            pictures.append(None)
            continue
        mask = np.asarray(mask)
        if mask.shape != image.shape[:2]:
            raise bad_argument("mask", f"of the image's size, {image.shape[:2]}", mask.shape)
        if ignore_class is not None and truth is not None:
            mask = np.where(np.asarray(truth) == ignore_class, ignore_class, mask)
        painted = Image.fromarray(color_mask(mask, colors, ignore_class))
        pictures.append(painted.resize(size, Image.Resampling.NEAREST))
    return pictures
