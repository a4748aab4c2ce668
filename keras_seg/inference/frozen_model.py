"""A trained network made ready for many predictions."""

from keras_seg.ops.fast import native_form


class FrozenModel:
    """A model as it is now, for many predictions in a row: later changes of its weights do not show.

    On TensorFlow on a CPU the weights become constants of one graph for all sizes, which are cast and laid
    out once and not at every call, which saves FCN-8s about a tenth of its time in bfloat16 and a twentieth
    in float32, see `benchmarks.fcn`. Elsewhere it runs the model's own `predict_on_batch`. It can stand for
    the model in `predict_probabilities`, `predict_tiled`, `predict_proposals` and `evaluate_semantic`.

    Costs some seconds, a copy of the weights in memory, and while it is made and first run up to 20 times
    their size: weights of more than a fortieth of the machine's memory run by `predict_on_batch` too.

    Args:
        model: keras.Model with one input (N, H, W, C) and one output, or a FrozenModel.

    Example:

        >>> fast = FrozenModel(model)
        >>> masks = [predict_classes(fast, [read_image(path)])[0] for path in paths]
    """

    def __init__(self, model):
        self._model = getattr(model, "_model", model)
        self.name = model.name
        self.input_shape, self.output_shape = model.input_shape, model.output_shape
        self._run = self._frozen() or self._model.predict_on_batch
        self._known_shapes = set()

    def compute_output_shape(self, input_shape):
        """As the model's."""
        return self._model.compute_output_shape(input_shape)

    def predict_on_batch(self, images):
        """As the model's: array (N, H, W, C) to float32 array (N, h, w, K).

        Raises:
            ValueError: a size that the model refuses.
        """
        if images.shape not in self._known_shapes:
            # A graph for all sizes runs those too that a check while tracing would refuse.
            self.compute_output_shape(images.shape)
            self._known_shapes.add(images.shape)
        return self._run(images)

    def _frozen(self):
        size = 4 * self._model.count_params()
        freeze = native_form("frozen_function", num_bytes=size)
        return freeze and freeze(self._call, (None, *self.input_shape[1:]))

    def _call(self, images):
        return self._model(images, training=False)
