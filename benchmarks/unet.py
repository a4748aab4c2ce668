"""U-Net beside plain PyTorch: training step, predict, and whether the input pipeline keeps up.

    python -m benchmarks.unet
    python -m benchmarks.unet --json unet.json
    KERAS_BACKEND=jax python -m benchmarks.unet --precision float32

The peer is `benchmarks.torch_unet`, channels_last, autocast for bfloat16, Adam as here, in the same process
and the same rounds. Aims on a CPU with TensorFlow: at most 0.90 of PyTorch's time in float32, 0.75 in
bfloat16.
"""

import argparse
import time

import numpy as np

from benchmarks.beside_torch import compare
from benchmarks.timing import write_results
from benchmarks.torch_unet import TorchUNet
from keras_seg import unet
from keras_seg.data import load

NUM_CLASSES = 12


def main():
    arguments = _parse()
    results = []
    for precision in arguments.precision:
        results += _compare_with_torch(arguments, precision)
    results += _pipeline(arguments, results)
    if arguments.json:
        write_results(arguments.json, results)
        print(f"written to {arguments.json}")


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="height and width, pixels")
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    both = ("float32", "bfloat16")
    parser.add_argument("--precision", nargs="+", default=both, choices=both)
    parser.add_argument("--data", default="shapes:count=64,size=320", help="for the pipeline's rate")
    parser.add_argument("--augment", default="road", help="augmentation of the pipeline")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _compare_with_torch(arguments, precision):
    shape = (arguments.batch_size, arguments.size, arguments.size)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, 3)).astype("float32")
    masks = rng.integers(0, NUM_CLASSES, shape).astype("int32")
    return compare(
        f"unet, {arguments.filters} filters",
        lambda: unet(NUM_CLASSES, (None, None, 3), filters=arguments.filters),
        lambda: TorchUNet(NUM_CLASSES, arguments.filters),
        images,
        masks,
        precision,
        arguments.repeats,
    )


def _pipeline(arguments, results):
    """Images a second from files to augmented batches, and what the fastest measured step eats."""
    data = load(
        arguments.data,
        batch_size=arguments.batch_size,
        crop_size=(arguments.size, arguments.size),
        augment=arguments.augment,
        shuffle=True,
        repeat=True,
    )
    batches = iter(data)
    for _ in range(100):  # fills the memory of decoded images
        next(batches)
    count, started = 60, time.perf_counter()
    for _ in range(count):
        next(batches)
    rate = count * arguments.batch_size / (time.perf_counter() - started)
    steps = [row["keras_seg_seconds"] for row in results if row["work"] == "training step"]
    need = arguments.batch_size / min(steps)
    print(f"input pipeline {rate:.0f} images/s; the fastest training step takes {need:.1f} images/s")
    return [{"work": "input pipeline", "images_per_second": rate, "needed_images_per_second": need}]


if __name__ == "__main__":
    main()
