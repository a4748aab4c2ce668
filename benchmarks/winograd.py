"""3x3 convolutions of the networks here: Keras's own layer beside `WinogradConv2D`.

    python -m benchmarks.winograd
    python -m benchmarks.winograd --any-width --json winograd.json

Where `WinogradConv2D` is Keras's layer, the ratio is 1 but for noise; `--any-width` has it take its products
there too, on TensorFlow, which shows from where on they pay.
"""

from functools import partial

import keras

from benchmarks.beside_keras import compare, parser
from keras_seg.layers import WinogradConv2D

# (what, images, (H, W, C), filters, dilation)
CASES = (
    ("torchvision's FCN, its head", 2, (32, 32, 2048), 512, 1),
    ("its layer4", 2, (32, 32, 512), 512, 4),
    ("its layer3", 2, (32, 32, 256), 256, 2),
    ("Mask R-CNN, P2", 1, (128, 128, 256), 256, 1),
    ("Mask R-CNN, P3", 1, (64, 64, 256), 256, 1),
    ("Mask R-CNN, P4", 1, (32, 32, 256), 256, 1),
    ("Mask R-CNN, mask head", 100, (14, 14, 256), 256, 1),
    ("U-Net, 512 channels", 4, (16, 16, 512), 512, 1),
    ("U-Net, 256 channels", 4, (32, 32, 256), 256, 1),
    ("U-Net, 128 channels", 4, (64, 64, 128), 128, 1),
    ("U-Net, 64 channels", 4, (128, 128, 64), 64, 1),
)


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--any-width", action="store_true", help="products for any number of channels")
    arguments = arguments.parse_args()
    if arguments.any_width and keras.backend.backend() == "tensorflow":
        from keras_seg.ops.fast import tensorflow

        tensorflow._LEAST_PRODUCTS = 1
    cases = [
        (
            what,
            images,
            shape,
            *(_maker(kind, filters, dilation) for kind in (keras.layers.Conv2D, WinogradConv2D)),
        )
        for what, images, shape, filters, dilation in CASES
    ]
    compare(cases, arguments.repeats, arguments.json)


def _maker(kind, filters, dilation):
    return partial(kind, filters, 3, padding="same", dilation_rate=dilation)


if __name__ == "__main__":
    main()
