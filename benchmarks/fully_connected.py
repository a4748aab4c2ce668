"""VGG16's fc6 as a convolution: Keras's own layer beside ours, which is a matrix product.

    python -m benchmarks.fully_connected
    KERAS_BACKEND=torch python -m benchmarks.fully_connected --json fc6.json
    python -m benchmarks.fully_connected --channels 32 64 --repeats 1

103 million weights from 512 to 4096 channels, and the transposed layer that DeconvNet's decoder begins with.
Each alone in a model; a training step is of plain SGD. Both layers take turns, in one process.
"""

import argparse

import keras
import numpy as np

from benchmarks.timing import POLICIES, interleaved_medians, write_results
from keras_seg.layers import FullyConnectedConv2D, FullyConnectedConv2DTranspose

KERNEL_SIZE = 7
# (what, images, side of the map, whether transposed)
CASES = (
    ("one window, conv", 4, 7, False),
    ("one window, transposed", 4, 1, True),
    ("8 x 8 windows, conv", 2, 14, False),
)


def main():
    arguments = _parse()
    few, many = arguments.channels
    results = []
    print(f"{keras.backend.backend()}, seconds: Keras's layer, ours, ratio")
    for precision, policy in POLICIES.items():
        keras.config.set_dtype_policy(policy)
        for what, images, side, transposed in CASES:
            channels = (many, few) if transposed else (few, many)
            kinds = (
                (keras.layers.Conv2DTranspose, FullyConnectedConv2DTranspose)
                if transposed
                else (keras.layers.Conv2D, FullyConnectedConv2D)
            )
            works = [_works(kind, images, side, *channels) for kind in kinds]
            for work in works[0]:
                theirs, ours = interleaved_medians(
                    {"keras": works[0][work], "ours": works[1][work]}, arguments.repeats
                ).values()
                print(
                    f"{what:24} {work:14} {precision:9} {theirs:.3f} {ours:.3f} {ours / theirs:.2f}",
                    flush=True,
                )
                results.append(
                    {
                        "backend": keras.backend.backend(),
                        "case": what,
                        "work": work,
                        "precision": precision,
                        "keras_seconds": theirs,
                        "ours_seconds": ours,
                    }
                )
    if arguments.json:
        write_results(arguments.json, results)


def _works(kind, images, side, channels, units):
    """The layer's work on random maps, as functions without arguments."""
    model = keras.Sequential([keras.Input((side, side, channels)), kind(units, KERNEL_SIZE)])
    model.compile("sgd", "mean_squared_error", jit_compile=keras.backend.backend() == "jax")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, side, side, channels), dtype="float32")
    y = rng.standard_normal((images, *model.output_shape[1:]), dtype="float32")
    return {
        "predict": lambda: model.predict_on_batch(x),
        "training step": lambda: model.train_on_batch(x, y),
    }


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--channels", type=int, nargs=2, default=(512, 4096), metavar=("IN", "OUT"), help="of the layer"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
