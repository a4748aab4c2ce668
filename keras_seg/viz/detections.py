"""Objects over their image: masks, boxes, and plates with class and score that stay readable among a hundred.

Takes what a detector found and what a data set says alike: anything with `boxes`, `labels`, `masks` and
`origins`, and `scores` where there are some.
"""

import numpy as np

from keras_seg.utils.validation import bad_argument, check_integer, check_number
from keras_seg.viz.overlays import instance_colors, rgb_image
from keras_seg.viz.panels import font, picture_grid

# Of the shorter side: sizes that look alike on a thumbnail and on a photograph of 12 megapixels.
_LINE, _FONT = 1 / 500, 1 / 40
_FONT_RANGE = (11, 64)
_PADDING = 0.25  # of the font's size, around the text of a plate
# Of an object's box, what plates of others may cover, and its own.
_HIDDEN, _HIDDEN_OWN = 0.15, 0.6
_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)


def detection_overlay(
    image, detections, class_names=None, *, alpha=0.45, boxes=True, plates=True, scale=1, min_score=0.0
):
    """Draw every object in a colour of its own, the best on top.

    A plate is put above its box, or at another of its corners where it would cover another plate or much of
    an object; where no place is free it is first shortened to the score and then left out: the best objects
    keep theirs.

    Args:
        image: array (H, W), (H, W, 1) or (H, W, 3), 0..255, uint8 or float.
        detections: `keras_seg.inference.Detections` or `keras_seg.data.Objects` of that image.
        class_names: sequence of str, by label, or None for the labels' numbers. With a single class the
            plates have scores alone, and the truth has none.
        alpha: float, default 0.45. Share of the colour inside the masks, 0 to 1.
        boxes: bool, default True. Draw the boxes.
        plates: bool, default True. Write class and score.
        scale: int, default 1. Times that the image is enlarged before lines and text are drawn.
        min_score: float, default 0. Objects of lower scores are not drawn.

    Returns:
        uint8 array (H * scale, W * scale, 3).

    Raises:
        ValueError: an image of another layout, or an argument out of its range.

    Example:

        >>> found = predict_instances(model, [image], score_threshold=0.5)[0]
        >>> save_png("found.png", detection_overlay(image, found, ["cat", "dog"]))
    """
    from PIL import Image, ImageDraw

    alpha, scale = check_number("alpha", alpha, 0, 1), check_integer("scale", scale)
    order = _drawing_order(detections, check_number("min_score", min_score))
    canvas = np.array(rgb_image(image).repeat(scale, 0).repeat(scale, 1))
    line = max(1, round(min(canvas.shape[:2]) * _LINE))
    for k in order:
        _paint_mask(
            canvas, detections.masks[k], detections.origins[k], instance_colors(k), alpha, scale, line
        )
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    corners = np.rint(np.asarray(detections.boxes, "float64").reshape(-1, 4) * scale).astype(int)
    if boxes:
        for k in order:
            x1, y1, x2, y2 = corners[k]
            pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=_color(k), width=line)
    if plates:
        text = [_texts(detections, k, class_names) for k in range(len(corners))]
        for k, words, place in _placed(order[::-1], corners, text, picture.size):
            _draw_plate(pen, words, place, _color(k), _font_size(picture.size))
    return np.asarray(picture)


def detection_grid(rows, class_names=None, min_score=0.5, width=512):
    """Images beside the truth and what was detected, a row each.

    Args:
        rows: list of (image, truth, detections): an array, `Objects` or None, and `Detections`.
        class_names: sequence of str, by label, or None.
        min_score: float, default 0.5. Detections of lower scores are not drawn.
        width: int, default 512. Pixels of a picture; small images are enlarged before anything is drawn.

    Returns:
        uint8 array (h, w, 3).

    Example:

        >>> save_png("look.png", detection_grid([(image, objects, found)], data.object_names))
    """
    pictures = []
    for image, truth, found in rows:
        scale = max(1, width // np.shape(image)[1])
        drawn = [
            None
            if objects is None
            else detection_overlay(image, objects, class_names, scale=scale, min_score=min_score)
            for objects in (truth, found)
        ]
        pictures.append((rgb_image(image).repeat(scale, 0).repeat(scale, 1), *drawn))
    return picture_grid(pictures, ("image", "truth", "prediction"), width)


def _drawing_order(detections, min_score):
    """Indices of the objects, those to be drawn over others last: large before small, then by score."""
    scores = getattr(detections, "scores", None)
    if scores is None:
        boxes = np.asarray(detections.boxes, "float64").reshape(-1, 4)
        return np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")
    scores = np.asarray(scores, "float64")
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= min_score][::-1]


def _paint_mask(canvas, mask, origin, color, alpha, scale, line):
    """Blend one mask into the canvas, its rim in full colour."""
    mask = np.asarray(mask, bool).repeat(scale, 0).repeat(scale, 1)
    if not mask.size:
        return
    top, left = (int(side) * scale for side in origin)
    part = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    if part.shape[:2] != mask.shape:
        expected = (
            f"objects inside the image of {canvas.shape[0] // scale} x {canvas.shape[1] // scale} pixels"
        )
        raise bad_argument("detections", expected, f"a mask that begins at {tuple(map(int, origin))}")
    inside = _eroded(mask, line)
    part[inside] = np.rint(part[inside] * (1 - alpha) + color * alpha)
    part[mask & ~inside] = color


def _eroded(mask, steps):
    """The mask without its outermost `steps` pixels; what lies beyond the array counts as outside."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _texts(detections, index, class_names):
    """What a plate may say, the longest first."""
    label = int(detections.labels[index])
    name = str(label) if class_names is None else str(class_names[label])
    told_apart = class_names is None or len(class_names) > 1
    if getattr(detections, "scores", None) is None:
        return [name] if told_apart else []
    score = f"{float(detections.scores[index]):.2f}"
    return [f"{name} {score}", score] if told_apart else [score]


def _placed(order, corners, texts, size):
    """Yield (index, text, plate's box) for the plates that find a free place, the first in `order` first."""
    shown, taken = corners[order], np.zeros((0, 4), int)
    for place_in_order, k in enumerate(order):
        # A plate may lie on the object that it names, but must leave most of it to be seen.
        hidden = np.full(len(order), _HIDDEN)
        hidden[place_in_order] = _HIDDEN_OWN
        for words in texts[k]:
            plate = _plate_size(words, _font_size(size))
            place = _free_place(corners[k], plate, taken, (shown, hidden), size)
            if place is not None:
                taken = np.concatenate([taken, [place]])
                yield k, words, place
                break


def _free_place(box, plate, taken, objects, size):
    """The first place at a box where a plate covers no other plate and little of any object, or None.

    `objects` are boxes (K, 4) and the share (K,) of each that may be covered.
    """
    (x1, y1, x2, y2), (width, height) = box, plate
    boxes, shares = objects
    allowed = shares * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for y in (y1 - height, y1, y2, y2 - height):
        for x in (x1, x2 - width):
            place = (x, y, x + width, y + height)
            inside = 0 <= x <= size[0] - width and 0 <= y <= size[1] - height
            if inside and not _shared(place, taken).any() and (_shared(place, boxes) <= allowed).all():
                return place
    return None


def _shared(box, boxes):
    """Pixels that a box shares with each of `boxes` (K, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return sides.clip(0).prod(axis=1)


def _draw_plate(pen, words, place, color, font_size):
    x1, y1, x2, y2 = place
    pen.rectangle((x1, y1, x2 - 1, y2 - 1), fill=color)
    # Luma by ITU-R 601: dark text on bright plates.
    ink = _DARK if np.dot(color, (0.299, 0.587, 0.114)) > 120 else _LIGHT
    pen.text(((x1 + x2) / 2, (y1 + y2) / 2), words, fill=ink, font=font(font_size), anchor="mm")


def _plate_size(words, font_size):
    padding = 2 * _PADDING * font_size
    return round(font(font_size).getlength(words) + padding), round(font_size + padding)


def _font_size(size):
    return int(np.clip(round(min(size) * _FONT), *_FONT_RANGE))


def _color(index):
    return tuple(instance_colors(index).tolist())
