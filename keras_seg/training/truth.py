"""Brings the truth to a network's output, which is smaller than its input where convolutions are unpadded."""

from keras_seg.inference.network import SemanticNetwork


def truth_at_output(dataset, model):
    """Cut masks and weights to the middle that the model's output covers.

    Args:
        dataset: tf.data.Dataset of (images, masks) or (images, masks, weights).
        model: keras.Model to logits (N, h, w, K).

    Returns:
        The dataset, as it is where the output has the input's size.
    """
    shape = dataset.element_spec[0].shape
    if None in shape[1:3]:
        return dataset
    height, width = model.compute_output_shape((1, *shape[1:]))[1:3]
    top, left = (shape[1] - height) // 2, (shape[2] - width) // 2
    if (top, left) == (0, 0):
        return dataset
    return dataset.map(
        lambda images, *maps: (images, *(m[:, top : top + height, left : left + width] for m in maps))
    )


def whole_image_size(model, data):
    """The input size with which the model's output covers each whole image of `data`.

    Args:
        model: keras.Model to logits.
        data: Source.

    Returns:
        (height, width) to crop or mirror the images to; None where they can stay as they are.
    """
    network = SemanticNetwork(model)
    if network.static_size:
        return network.static_size
    if network.takes_any_size:
        return None
    sizes = [data.size(index) or data.read(index)[1].shape for index in range(len(data))]
    return tuple(_covering_size(network, max(sides)) for sides in zip(*sizes, strict=True))


def _covering_size(network, length):
    """The smallest input side whose output has at least `length` pixels."""
    _, margin, stride = network.valid_sizes(length)
    sizes, _, _ = network.valid_sizes(length + margin + stride)
    return min(size for size in sizes if size - margin >= length)
