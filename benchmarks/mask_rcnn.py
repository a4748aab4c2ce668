"""Mask R-CNN on ResNet50-FPN beside torchvision's: time, peak memory, and where the time goes.

    python -m benchmarks.mask_rcnn
    python -m benchmarks.mask_rcnn --precision bfloat16 --batches 4 --json mask_rcnn.json
    python -m benchmarks.mask_rcnn --memory
    KERAS_BACKEND=jax python -m benchmarks.mask_rcnn --parts-only

Both have the same weights and see the same 512 x 512 images, from pixels to detections and from pixels and
objects to new weights, in the same process and the same rounds. torchvision is given masks of the whole
image, which is what it takes; ours are 56 x 56 for each box. "Frozen" is ours as a
`keras_seg.inference.FrozenModel`, beside torchvision's predict: it has no such form. Aim on a CPU with
TensorFlow: at most 0.7 of torchvision's time and no more memory.
"""

import argparse
import functools
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.timing import POLICIES, interleaved_medians, processor_name, write_results
from keras_seg.data.objects import Objects
from keras_seg.data.placement import Placement
from keras_seg.inference import FrozenModel

SIDE, CLASSES, OBJECTS = 512, 90, 8
MOST_DETECTIONS = 100
# The methods of both models that do a work. Freezing copies the weights, so its memory is a story of its own.
WORKS = {"predict": "predict", "predict, frozen": "predict_frozen", "training step": "train"}
MEASURED_FOR_MEMORY = ("predict", "training step")


def main():
    arguments = _parse()
    if arguments.memory_of:
        return _print_memory(*arguments.memory_of, arguments.precision[0], arguments.batches[0])
    results = []
    for precision in arguments.precision:
        for batch in arguments.batches:
            if arguments.memory:
                results += _memory(precision, batch)
                continue
            if not arguments.parts_only:
                results += _compare(precision, batch, arguments.repeats)
            results += _parts(precision, batch, arguments.repeats)
    if arguments.json:
        write_results(arguments.json, results)
        print(f"written to {arguments.json}")
    return None


def made_images(batch):
    """Images (N, 512, 512, 3) of noise, uint8, and their objects: (boxes, labels, masks) for each.

    Returns:
        images, and a list of (float32 (G, 4), int32 (G,), uint8 (G, 512, 512)).
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, SIDE, SIDE, 3)).astype("uint8")
    objects = []
    y, x = np.ogrid[:SIDE, :SIDE]
    for _ in range(batch):
        masks = np.stack(
            [
                (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
                for cy, cx, radius in rng.uniform((60, 60, 10), (450, 450, 60), (OBJECTS, 3))
            ]
        )
        boxes = [[m.any(0).argmax(), m.any(1).argmax()] for m in masks]
        ends = [[SIDE - m.any(0)[::-1].argmax(), SIDE - m.any(1)[::-1].argmax()] for m in masks]
        boxes = np.concatenate([boxes, ends], axis=1).astype("float32")
        objects.append((boxes, rng.integers(0, CLASSES, OBJECTS).astype("int32"), masks.astype("uint8")))
    return images, objects


class KerasMaskRCNN:
    """Ours, with torchvision's weights or random ones."""

    def __init__(self, precision, state=None):
        from keras_seg import mask_rcnn
        from keras_seg.weights import from_torchvision

        keras.config.set_dtype_policy(POLICIES[precision])
        shape = (SIDE, SIDE, 3)
        if state is None:
            self.model = mask_rcnn(CLASSES, shape, normalization="frozen_batch")
        else:
            self.model = from_torchvision("maskrcnn_resnet50_fpn", state, shape)
        self.model.compile(keras.optimizers.SGD(1e-5))

    def predict(self, images):
        return self.model.predict_on_batch(images)["num_detections"].tolist()

    @functools.cached_property
    def _frozen(self):
        return FrozenModel(self.model)

    def predict_frozen(self, images):
        return self._frozen.predict_on_batch(images)["num_detections"].tolist()

    def train(self, images, objects):
        self.model.train_on_batch(images, _truth(objects))


def _truth(objects):
    """The dict that our model trains on, masks 56 x 56 of each box."""
    size = (SIDE, SIDE)
    whole = Placement(size, size, size)
    soft = [
        [
            whole.soft_mask(cut, box, box, (56, 56))
            for cut, box in zip(one.masks, one.boxes.astype("float64"), strict=True)
        ]
        for one in (Objects.from_masks(masks, labels=labels) for _, labels, masks in objects)
    ]
    return {
        "boxes": np.stack([boxes for boxes, _, _ in objects]),
        "labels": np.stack([labels for _, labels, _ in objects]),
        "masks": np.asarray(soft, "float32"),
    }


def _device_name():
    """The accelerator that the peer runs on, or else the processor."""
    from benchmarks.torch_device import DEVICE, device_name

    return processor_name() if DEVICE == "cpu" else device_name()


def _compare(precision, batch, repeats):
    from benchmarks.torch_mask_rcnn import TorchMaskRCNN

    peer = TorchMaskRCNN(SIDE, precision)
    ours = KerasMaskRCNN(precision, peer.state_dict())
    images, objects = made_images(batch)
    print(f"detections: keras_seg {ours.predict(images)}, torchvision {peer.predict(images)}")
    rows = []
    for work, name in WORKS.items():
        arguments = (images, objects) if name == "train" else (images,)
        functions = {
            "keras_seg": functools.partial(getattr(ours, name), *arguments),
            "torchvision": functools.partial(getattr(peer, name.removesuffix("_frozen")), *arguments),
        }
        times = interleaved_medians(functions, repeats)
        rows.append(
            {
                "work": work,
                "precision": precision,
                "batch": batch,
                "backend": keras.backend.backend(),
                "device": _device_name(),
                "seconds": times,
                "ratio": times["keras_seg"] / times["torchvision"],
            }
        )
        print(
            f"{work:15} {precision:9} batch {batch}   keras_seg ({keras.backend.backend()}) "
            f"{times['keras_seg']:.3f} s   torchvision {times['torchvision']:.3f} s   "
            f"ratio {rows[-1]['ratio']:.2f}",
            flush=True,
        )
    return rows


def _parts(precision, batch, repeats):
    """Seconds of the parts of predict, each compiled by itself, and of a training step."""
    model = KerasMaskRCNN(precision).model
    arrays, objects = made_images(batch)
    images = keras.ops.convert_to_tensor(arrays)
    maps = model.features(images, training=False)
    logits, deltas = model._region_outputs(maps, False)
    boxes, _ = model._proposals(logits, deltas, training=False)
    regions = model._regions(model.box_regions, maps, boxes, False)
    few = boxes[:, : model.settings.max_detections]
    mask_regions = model._regions(model.mask_regions, maps, few, False)
    classes = keras.ops.ones(mask_regions.shape[:1], "int32")
    parts = {
        "backbone and pyramid": (lambda x: model.features(x, training=False), images),
        "region proposal network": (lambda x: model._region_outputs(x, False), maps),
        "proposals": (lambda x: model._proposals(*x, training=False), (logits, deltas)),
        "RoIAlign for boxes": (lambda x: model._regions(model.box_regions, *x, False), (maps, boxes)),
        "box head": (lambda x: model.box_head(x, training=False), regions),
        "RoIAlign for masks": (lambda x: model._regions(model.mask_regions, *x, False), (maps, few)),
        "mask head": (lambda x: model._mask_of_class(*x, False), (mask_regions, classes)),
    }
    functions = {
        name: functools.partial(_compiled(function), inputs) for name, (function, inputs) in parts.items()
    }
    truth = _truth(objects)
    functions["forward and losses"] = functools.partial(model.test_on_batch, arrays, truth)
    functions["training step"] = functools.partial(model.train_on_batch, arrays, truth)
    times = interleaved_medians(functions, repeats)
    times["gradients and update"] = times.pop("training step") - times["forward and losses"]
    for name, seconds in times.items():
        print(f"{name:24} {precision:9} batch {batch}   {seconds:.3f} s", flush=True)
    return [{"parts": times, "precision": precision, "batch": batch, "backend": keras.backend.backend()}]


def _compiled(function):
    """The function as the backend's fit or predict would run it, waiting for its results."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        fast = jax.jit(function)
        return lambda inputs: jax.block_until_ready(fast(inputs))
    import torch

    from benchmarks.torch_device import wait

    def eager(inputs):
        with torch.inference_mode():
            result = function(inputs)
        wait()
        return result

    return eager


def _memory(precision, batch):
    """Peak memory of a process that does one work, beyond the model and what is imported."""
    from benchmarks.torch_mask_rcnn import TorchMaskRCNN

    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/weights.npz"
        np.savez(weights, **TorchMaskRCNN(SIDE, precision).state_dict())
        return _memory_with(weights, precision, batch)


def _memory_with(weights, precision, batch):
    rows = []
    for work in MEASURED_FOR_MEMORY:
        peaks = {}
        for who in ("keras_seg", "torchvision"):
            command = [sys.executable, "-m", "benchmarks.mask_rcnn", "--memory-of", who, work, weights]
            command += ["--precision", precision, "--batches", str(batch)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise RuntimeError(run.stderr[-2000:])
            peaks[who] = float(run.stdout.split()[-1])
        ratio = peaks["keras_seg"] / peaks["torchvision"]
        rows.append({"work": work, "precision": precision, "batch": batch, "peak_gib": peaks, "ratio": ratio})
        print(
            f"{work:14} {precision:9} batch {batch}   peak keras_seg {peaks['keras_seg']:.2f} GiB   "
            f"torchvision {peaks['torchvision']:.2f} GiB   ratio {ratio:.2f}",
            flush=True,
        )
    return rows


def _print_memory(who, work, weights, precision, batch):
    if who == "keras_seg":
        with np.load(weights) as state:
            model = KerasMaskRCNN(precision, dict(state))
    else:
        from benchmarks.torch_mask_rcnn import TorchMaskRCNN

        model = TorchMaskRCNN(SIDE, precision)
    images, objects = made_images(batch)
    gc.collect()
    # Forgets the peak so far, of bringing the weights in.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    for _ in range(3):
        if work == "training step":
            model.train(images, objects)
        elif min(model.predict(images)) < MOST_DETECTIONS:
            raise RuntimeError(
                f"{who} found fewer than {MOST_DETECTIONS} objects: its mask head had less to do"
            )
        time.sleep(0.1)
    print((_status("VmHWM") - before) / 2**20)


def _status(field):
    """KiB of this process: of its own life, where `getrusage` begins with its parent's peak."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    both = ("float32", "bfloat16")
    parser.add_argument("--precision", nargs="+", default=both, choices=both)
    parser.add_argument("--batches", nargs="+", type=int, default=(1, 4), help="images in a step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts-only", action="store_true", help="no peer, so no torchvision needed")
    parser.add_argument("--memory", action="store_true", help="peak memory in place of time")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
