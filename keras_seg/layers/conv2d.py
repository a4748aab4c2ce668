"""Keras's convolution, as each backend trains and runs it best."""

import keras

from keras_seg.ops.fast import native_form
from keras_seg.ops.kernel_updates import used_together


@keras.saving.register_keras_serializable("keras_seg")
class Conv2D(keras.layers.Conv2D):
    """Keras's layer, with what TensorFlow on a CPU is better told.

    A training step need not copy the kernel: its gradient is handed on when its input's is there, and then
    nothing else waits for the kernel's old values (`ops.kernel_updates`).

    Processors that multiply bfloat16 no faster than float32 lose by what its kernels do around the products:
    there wide convolutions multiply in float32, and what comes in and goes out stays bfloat16, gradients too.
    What a Mask R-CNN gains is in docs/results.md.

    Arguments, weights, inputs, outputs and numbers are those of `keras.layers.Conv2D`, up to rounding, and
    weights may be exchanged with it.
    """

    def convolution_op(self, inputs, kernel):
        wider = native_form(
            "in_float32",
            dtype=keras.backend.standardize_dtype(inputs.dtype),
            inputs=inputs.shape,
            kernel=kernel.shape,
            outputs=self.compute_output_shape(inputs.shape),
        )
        convolve = super().convolution_op
        return wider(convolve, inputs, kernel) if wider else convolve(*used_together(inputs, kernel))
