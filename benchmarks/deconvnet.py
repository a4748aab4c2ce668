"""DeconvNet beside the same network in PyTorch, and where the time of instance-wise inference goes.

    python -m benchmarks.deconvnet
    python -m benchmarks.deconvnet --works "predict, frozen"
    python -m benchmarks.deconvnet --width 0.25 --precision bfloat16 --json deconvnet.json
    KERAS_BACKEND=torch python -m benchmarks.deconvnet

The peer runs channels_last, autocast for bfloat16, Adam as here, in the same process and the same rounds. Aim
on a CPU with TensorFlow: at most 0.9 of PyTorch's time. Instance-wise inference is of 50 proposals by
selective search on a drawn image of 360 x 480 pixels; without OpenCV's contrib modules it takes a grid of
boxes, and says so. The frozen network by itself needs less memory than beside both optimizers.
"""

import argparse
import time

import keras
import numpy as np

from benchmarks.beside_torch import PASSES, compare
from benchmarks.timing import POLICIES, write_results
from benchmarks.torch_deconvnet import DeconvNet
from benchmarks.torch_fcn import Normalized
from keras_seg import deconvnet
from keras_seg.data.proposals import propose
from keras_seg.data.synthetic import ShapesSource
from keras_seg.inference import FrozenModel
from keras_seg.inference.network import SemanticNetwork
from keras_seg.inference.proposals import ScoreCanvas, run_crops

NUM_CLASSES = 21


def main():
    arguments = _parse()
    shape = (arguments.batch_size, 224, 224)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, 3)).astype("float32")
    masks = rng.integers(0, NUM_CLASSES, shape).astype("int32")
    results = []
    for precision in arguments.precision:
        results += compare(
            f"deconvnet x {arguments.width:g}",
            lambda: deconvnet(NUM_CLASSES, width=arguments.width),
            lambda: Normalized(DeconvNet(NUM_CLASSES, arguments.width)),
            images,
            masks,
            precision,
            arguments.repeats,
            arguments.works,
        )
    results += [_instance_wise(arguments, precision) for precision in arguments.precision]
    if arguments.json:
        write_results(arguments.json, results)
        print(f"written to {arguments.json}")


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=4, help="crops of 224 x 224")
    parser.add_argument("--width", type=float, default=1.0, help="channels, as a part of the published ones")
    parser.add_argument("--repeats", type=int, default=3)
    works = ("training step", "predict")
    parser.add_argument("--works", nargs="+", default=works, choices=tuple(PASSES), metavar="WORK")
    parser.add_argument("--proposals", type=int, default=50)
    both = ("float32", "bfloat16")
    parser.add_argument("--precision", nargs="+", default=both, choices=both)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _instance_wise(arguments, precision):
    """Seconds for proposals, network and aggregation of one image."""
    keras.config.set_dtype_policy(POLICIES[precision])
    network = SemanticNetwork(FrozenModel(deconvnet(NUM_CLASSES, width=arguments.width)))
    image, _ = ShapesSource(1, (360, 480)).read(0)
    seconds = {}
    started = time.perf_counter()
    boxes, method = _proposals(image, arguments.proposals)
    seconds["proposals"] = time.perf_counter() - started
    batch = 10
    run_crops(network, image, boxes[:batch], batch)  # traced and compiled before the clock starts
    started = time.perf_counter()
    scores = [run_crops(network, image, boxes[i : i + batch], batch) for i in range(0, len(boxes), batch)]
    seconds["network"] = time.perf_counter() - started
    started = time.perf_counter()
    canvas = ScoreCanvas(image.shape[:2], NUM_CLASSES, "max")
    for box, score in zip(boxes, np.concatenate(scores), strict=True):
        canvas.add(box, score)
    canvas.scores()
    seconds["aggregation"] = time.perf_counter() - started
    parts = "   ".join(f"{name} {part:.2f} s" for name, part in seconds.items())
    print(f"instance-wise, {len(boxes)} proposals ({method}), 360 x 480, {precision:9} {parts}", flush=True)
    return {"work": "instance-wise", "precision": precision, "proposals": len(boxes), "method": method} | {
        f"{name}_seconds": part for name, part in seconds.items()
    }


def _proposals(image, count):
    try:
        return propose(image, "selective_search", count=count, min_side=0), "selective search"
    except ImportError as error:
        print(f"{error} Boxes of a grid are taken instead.")
    starts = np.linspace(0, 240, int(np.ceil(count**0.5)))
    corners = np.stack(np.meshgrid(starts, starts), -1).reshape(-1, 2)[:count]
    return np.concatenate([corners, corners + 150], axis=1).astype("float32"), "a grid"


if __name__ == "__main__":
    main()
