"""A trained network made ready for many predictions."""

import keras

from keras_seg.ops.fast import native_form
from keras_seg.utils.validation import bad_argument


def thawed(model):
    """The keras.Model that a FrozenModel was made of; any other model itself."""
    return model.model if isinstance(model, FrozenModel) else model


class FrozenModel:
    """A model as it is now, for many predictions in a row: later changes of its weights do not show.

    On TensorFlow on a CPU the weights become constants of a graph, which are cast and laid out once and not
    at every call. The first size of images has a graph of its own, in which wide 3x3 convolutions take fewer
    multiplications (`layers.WinogradConv2D`); other sizes share another. See `benchmarks.fcn` for what this
    saves. Batch normalization is folded into the convolutions before it. Elsewhere it runs the model's own
    `predict_on_batch`. It can stand for the model in `predict_probabilities`, `predict_tiled`,
    `predict_proposals` and `evaluate_semantic`, and a frozen detector in `predict_instances` and
    `evaluate_instances`.

    Costs a copy of the weights and some seconds and two more copies for either graph, and while that is made
    up to 20 times their size: weights of more than a fortieth of the machine's memory run by
    `predict_on_batch` too.

    Args:
        model: keras.Model with one input (N, H, W, C) and one output; a detector, which gives a dict; or a
            FrozenModel.

    Attributes:
        model: the keras.Model that it was made of, with its weights as they are by now.

    Example:

        >>> fast = FrozenModel(model)
        >>> masks = [predict_classes(fast, [read_image(path)])[0] for path in paths]
    """

    def __init__(self, model):
        self.model = thawed(model)
        self.name = model.name
        self.input_shape = model.input_shape
        self._freeze = native_form("frozen_function", num_bytes=4 * self.model.count_params())
        # As arrays, because a graph is made only when its size is known.
        self._weights = [
            [keras.ops.convert_to_numpy(variable.value) for variable in variables] if self._freeze else None
            for variables in (self.model.trainable_variables, self.model.non_trainable_variables)
        ]
        self._graphs = {}
        self._known_shapes = set()

    @property
    def output_shape(self):
        """As the model's, where it has one."""
        return self.model.output_shape

    def compute_output_shape(self, input_shape):
        """As the model's."""
        return self.model.compute_output_shape(input_shape)

    def predict_on_batch(self, images):
        """As the model's: array (N, H, W, C) to float32 array (N, h, w, K), or a detector's dict of arrays.

        Raises:
            ValueError: a size that the model refuses.
        """
        if images.shape not in self._known_shapes:
            self._check(images.shape)
            self._known_shapes.add(images.shape)
        if not self._freeze:
            return self.model.predict_on_batch(images)
        return self._graph(images.shape[1:3])(images)

    def _check(self, shape):
        expected = self.input_shape[1:]
        if None in expected:
            # A graph for all sizes runs those too that a check while tracing would refuse.
            self.compute_output_shape(shape)
        elif tuple(shape[1:]) != tuple(expected):
            raise bad_argument("images", f"of the model's shape (N, {', '.join(map(str, expected))})", shape)

    def _graph(self, size):
        """That of the first size for images of it, else that of all sizes."""
        if self._graphs and size not in self._graphs:
            size = self.input_shape[1:3]
        if size not in self._graphs:
            self._graphs[size] = self._freeze(self._call, (None, *size, self.input_shape[3]))
        return self._graphs[size]

    def _call(self, images):
        return self.model.stateless_call(*self._weights, images, training=False)[0]
