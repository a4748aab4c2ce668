"""A trained network made ready for many predictions."""

from keras_seg.ops.fast import native_form
from keras_seg.utils.validation import bad_argument


class FrozenModel:
    """A model as it is now, for many predictions in a row: later changes of its weights do not show.

    On TensorFlow on a CPU the weights become constants of one graph for all sizes, which are cast and laid
    out once and not at every call: FCN-8s on VGG16 takes two thirds of the time of `model.predict`, see
    `benchmarks.fcn`, Mask R-CNN in bfloat16 three quarters, see `benchmarks.mask_rcnn`. Elsewhere it runs the
    model's own `predict_on_batch`. It can stand for the model in `predict_probabilities`, `predict_tiled`,
    `predict_proposals`, `predict_instances`, `evaluate_semantic` and `evaluate_instances`.

    Costs some seconds, a copy of the weights in memory, and while it is made and first run up to 20 times
    their size: weights of more than a fortieth of the machine's memory run by `predict_on_batch` too.

    Args:
        model: keras.Model with one input (N, H, W, C), such as a network of this library; or a FrozenModel.

    Attributes:
        model: the keras.Model.

    Example:

        >>> fast = FrozenModel(model)
        >>> masks = [predict_classes(fast, [read_image(path)])[0] for path in paths]
    """

    def __init__(self, model):
        self.model = model.model if isinstance(model, FrozenModel) else model
        self.name, self.input_shape = model.name, model.input_shape
        self._run = self._frozen() or self.model.predict_on_batch
        self._known_shapes = set()

    @property
    def output_shape(self):
        """As the model's."""
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
        return self._run(images)

    def _check(self, shape):
        if None in self.input_shape[1:]:
            # A graph for all sizes runs those too that a check while tracing would refuse.
            self.compute_output_shape(shape)
        elif tuple(shape[1:]) != tuple(self.input_shape[1:]):
            raise bad_argument(
                "images", f"of shape {self.input_shape}, which {self.name} was built for", shape
            )

    def _frozen(self):
        size = 4 * self.model.count_params()
        freeze = native_form("frozen_function", num_bytes=size)
        return freeze and freeze(self._call, (None, *self.input_shape[1:]))

    def _call(self, images):
        return self.model(images, training=False)
