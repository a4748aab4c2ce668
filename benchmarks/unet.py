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

import keras
import numpy as np

from benchmarks.timing import interleaved_medians, processor_name, write_results
from keras_seg import losses, unet
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
    ours = _keras_functions(arguments, precision, images, masks)
    theirs = _torch_functions(arguments, precision, images, masks)
    rows = []
    for work in ("training step", "predict"):
        times = interleaved_medians({"keras_seg": ours[work], "torch": theirs[work]}, arguments.repeats)
        row = {
            "work": work,
            "precision": precision,
            "backend": keras.backend.backend(),
            "images": [*shape, 3],
            "filters": arguments.filters,
            "processor": processor_name(),
            "keras_seg_seconds": times["keras_seg"],
            "torch_seconds": times["torch"],
            "ratio": times["keras_seg"] / times["torch"],
        }
        rows.append(row)
        print(
            f"{work:14} {precision:9} keras_seg ({row['backend']}) {row['keras_seg_seconds']:.3f} s   "
            f"torch {row['torch_seconds']:.3f} s   ratio {row['ratio']:.2f}",
            flush=True,
        )
    return rows


def _keras_functions(arguments, precision, images, masks):
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    model = unet(NUM_CLASSES, (None, None, 3), filters=arguments.filters)
    # XLA pays on accelerators, and is all that JAX has; TensorFlow's own kernels are faster on a CPU.
    jit = "auto" if keras.backend.backend() == "jax" else False
    model.compile(keras.optimizers.Adam(1e-4), losses.CrossEntropy(), jit_compile=jit)
    return {
        "training step": lambda: model.train_on_batch(images, masks),
        "predict": lambda: model.predict_on_batch(images),
    }


def _torch_functions(arguments, precision, images, masks):
    import torch

    from benchmarks.torch_unet import TorchUNet

    model = TorchUNet(NUM_CLASSES, arguments.filters).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    inputs = torch.tensor(images).permute(0, 3, 1, 2)  # of channels_last strides as it is
    targets = torch.tensor(masks).long()
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")

    def training_step():
        model.train()
        optimizer.zero_grad()
        with autocast:
            logits = model(inputs)
        torch.nn.functional.cross_entropy(logits.float(), targets).backward()
        optimizer.step()

    def predict():
        model.eval()
        with torch.inference_mode(), autocast:
            model(inputs).float().numpy()

    return {"training step": training_step, "predict": predict}


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
