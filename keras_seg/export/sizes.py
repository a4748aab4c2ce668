"""Which image sizes a model takes, and how an image of any other size is brought to one and back.

Three kinds of model exist. One takes every size (padded U-Net, FCN): nothing is done. One takes only some
sizes and may give less than it takes (unpadded U-Net, or a network that wants multiples of 32): the image is
mirrored at its border up to the next size, so that the output covers the image, and the rest is cut off. One
has a fixed size (DeconvNet): the image is resized to it bilinearly, and the logits are resized back.
"""

import dataclasses

from keras_seg.utils.validation import bad_argument

# Past this no model was met that had not taken some size: the deepest unpadded U-Net in use needs 380.
_LARGEST_PROBE = 1024


@dataclasses.dataclass(frozen=True)
class SizeRule:
    """The sizes that a model takes along one axis: `first + m * step`, or only `fixed`.

    Attributes:
        fixed: int or None. The one size of a model without a free axis, pixels.
        first: int. The smallest size taken.
        step: int. Distance from one to the next.
        margin: int. Input size minus output size.
    """

    fixed: int | None = None
    first: int = 1
    step: int = 1
    margin: int = 0

    @property
    def takes_all(self):
        return self == SizeRule()

    def plan(self, size):
        """How an image of `size` pixels is fitted: (size after the resize, mirrored before, mirrored after).

        The three add up to a size that the model takes, and the part of the output that begins at its first
        pixel and is as long as the resized image is that image's.
        """
        if self.fixed is not None:
            content, total = self.fixed - self.margin, self.fixed
        else:
            missing = max(size + self.margin - self.first, 0)
            content, total = size, self.first + -(-missing // self.step) * self.step
        before = self.margin // 2
        return content, before, total - content - before


def size_rules(model):
    """The rules (height, width) of a model from images (N, H, W, C) to logits (N, h, w, K).

    Found by asking the model for its output shape, so it holds for any architecture.

    Raises:
        ValueError: the output is neither as large as the input nor smaller by a constant margin.
    """
    fixed = tuple(model.input_shape[1:3])
    if None not in fixed:
        margins = [size - out for size, out in zip(fixed, model.output_shape[1:3], strict=True)]
        _check_margins(model, margins)
        return tuple(SizeRule(fixed=size, margin=margin) for size, margin in zip(fixed, margins, strict=True))
    free = _free_rule(model, fixed)
    rules = []
    for axis, size in enumerate(fixed):
        if size is None:
            rules.append(free)
        else:
            margin = size - _output_size(model, fixed, free.first)[axis]
            _check_margins(model, [margin])
            rules.append(SizeRule(fixed=size, margin=margin))
    return tuple(rules)


def _free_rule(model, fixed):
    """Find the two smallest sizes with the same margin: they give first and step."""
    axis = fixed.index(None)
    first = margin = None
    for size in range(1, _LARGEST_PROBE + 1):
        output = _output_size(model, fixed, size)
        if output is None or not 0 < output[axis] <= size:
            continue
        if first is None:
            first, margin = size, size - output[axis]
        elif size - output[axis] == margin:
            return SizeRule(first=first, step=size - first, margin=margin)
    raise bad_argument(
        "model",
        "of an output as large as its input, or smaller by the same number of pixels at every size",
        model.name,
        "Resize the logits to the images' size as the model's last layer.",
    )


def _output_size(model, fixed, size):
    """(height, width) of the output where the free axes are `size` pixels; None where the model refuses."""
    shape = (1, *(size if side is None else side for side in fixed), model.input_shape[-1])
    try:
        return tuple(model.compute_output_shape(shape)[1:3])
    # What a layer raises for a shape that it cannot take is its own choice.
    except Exception:
        return None


def _check_margins(model, margins):
    if min(margins) < 0:
        raise bad_argument("model", "of an output no larger than its input", model.name)
