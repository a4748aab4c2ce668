"""VGG16's fc6 as a convolution: Keras's own layer beside ours, which is a matrix product.

    python -m benchmarks.fully_connected
    KERAS_BACKEND=torch python -m benchmarks.fully_connected --json fc6.json
    python -m benchmarks.fully_connected --channels 32 64 --repeats 1

103 million weights from 512 to 4096 channels, and the transposed layer that DeconvNet's decoder begins with.
"""

from functools import partial

from keras import layers

from benchmarks.beside_keras import compare, parser
from keras_seg.layers import FullyConnectedConv2D, FullyConnectedConv2DTranspose

KERNEL_SIZE = 7


def main():
    arguments = _parse()
    few, many = arguments.channels
    convolutions = layers.Conv2D, FullyConnectedConv2D
    transposed = layers.Conv2DTranspose, FullyConnectedConv2DTranspose
    cases = [
        ("one window, conv", 4, (7, 7, few), *(partial(kind, many, KERNEL_SIZE) for kind in convolutions)),
        (
            "one window, transposed",
            4,
            (1, 1, many),
            *(partial(kind, few, KERNEL_SIZE) for kind in transposed),
        ),
        (
            "8 x 8 windows, conv",
            2,
            (14, 14, few),
            *(partial(kind, many, KERNEL_SIZE) for kind in convolutions),
        ),
    ]
    compare(cases, arguments.repeats, arguments.json)


def _parse():
    arguments = parser(__doc__)
    arguments.add_argument(
        "--channels", type=int, nargs=2, default=(512, 4096), metavar=("IN", "OUT"), help="of the layer"
    )
    return arguments.parse_args()


if __name__ == "__main__":
    main()
