"""Convolutions whose kernels are updated where they lie."""

import keras
from keras.layers import Conv2D

from keras_seg.ops.fast import native_form


@keras.saving.register_keras_serializable("keras_seg")
class InPlaceConv2D(Conv2D):
    """`keras.layers.Conv2D` whose kernel TensorFlow's training step need not copy.

    There an optimizer's update of a weight waits for the operations that read it, but not for those that use
    what was read: it may come between the gradient of a kernel and that of the layer's input, and then the
    kernel is copied, into memory that the step's maps would have had. 25 of a Mask R-CNN's 94 weights were,
    in a step, and its memory grew from one to the next. Here a kernel's gradient is handed on when its
    input's is there.

    Arguments, weights, inputs, outputs and numbers are those of Keras's layer, and weights may be exchanged
    with it.
    """

    def convolution_op(self, inputs, kernel):
        together = native_form("used_together")
        return self._convolved(*(together(inputs, kernel) if together else (inputs, kernel)))

    def _convolved(self, inputs, kernel):
        return super().convolution_op(inputs, kernel)
