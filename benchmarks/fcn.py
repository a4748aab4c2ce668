"""FCN beside PyTorch: on ResNet50 beside torchvision's, FCN-8s on VGG16 beside the same net in plain PyTorch.

    python -m benchmarks.fcn
    python -m benchmarks.fcn --networks vgg16 --precision bfloat16 --json fcn.json
    python -m benchmarks.fcn --networks unnormalized
    KERAS_BACKEND=torch python -m benchmarks.fcn

The peers run channels_last, autocast for bfloat16, Adam as here, in the same process and the same rounds.
The one on ResNet50 needs torchvision. "unnormalized" is that network without its normalizations, beside
torchvision's with them: what folding them into the convolutions could gain at most. Aim on a CPU with
TensorFlow: at most 0.9 of PyTorch's time.
"""

import argparse
import importlib.util

import keras
import numpy as np

from benchmarks.beside_torch import compare
from benchmarks.timing import write_results
from benchmarks.torch_fcn import FCN8sVGG16, Normalized, fcn_resnet50
from keras_seg import fcn

NUM_CLASSES = 21


def _resnet50():
    return fcn(NUM_CLASSES, variant="dilated", backbone="resnet50")


def _unnormalized():
    model = _resnet50()
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.call = lambda inputs, training=None, mask=None: inputs
    return model


def _torchvision():
    return Normalized(fcn_resnet50(NUM_CLASSES))


NETWORKS = {
    "fcn_resnet50": (_resnet50, _torchvision),
    "unnormalized": (_unnormalized, _torchvision),
    "vgg16": (
        lambda: fcn(NUM_CLASSES, variant="8s", backbone="vgg16"),
        lambda: Normalized(FCN8sVGG16(NUM_CLASSES)),
    ),
}


def main():
    arguments = _parse()
    shape = (arguments.batch_size, arguments.size, arguments.size)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, 3)).astype("float32")
    masks = rng.integers(0, NUM_CLASSES, shape).astype("int32")
    results = []
    for name in arguments.networks:
        if NETWORKS[name][1] is _torchvision and importlib.util.find_spec("torchvision") is None:
            print(f"{name} left out: its peer is torchvision's, and torchvision is not installed")
            continue
        for precision in arguments.precision:
            results += compare(name, *NETWORKS[name], images, masks, precision, arguments.repeats)
    if arguments.json:
        write_results(arguments.json, results)
        print(f"written to {arguments.json}")


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=("fcn_resnet50", "vgg16"), choices=tuple(NETWORKS))
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--size", type=int, default=256, help="height and width, pixels")
    parser.add_argument("--repeats", type=int, default=5)
    both = ("float32", "bfloat16")
    parser.add_argument("--precision", nargs="+", default=both, choices=both)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
