"""A semantic model beside its peer in PyTorch: training step and predict, in the same process and rounds."""

import functools
import sys

import keras
import torch

from benchmarks.timing import POLICIES, interleaved_medians, processor_name
from benchmarks.torch_device import DEVICE, autocast, wait
from keras_seg import losses
from keras_seg.inference import FrozenModel

if keras.backend.backend() == "tensorflow":
    # PyTorch's CUDA builds load Triton with torchvision, whose LLVM ends a process that has TensorFlow's.
    sys.modules.setdefault("triton", None)

# Of a network's arithmetic in each work: the gradient to the maps and to the kernels cost one more each.
PASSES = {"predict": 1, "predict, frozen": 1, "training step": 3}


def compare(name, build, build_peer, images, masks, precision, repeats, works=tuple(PASSES)):
    """Time both models and print a line each for the training step and predict.

    Args:
        name: str. The network, for the table.
        build: callable to a keras.Model; called under the precision's policy.
        build_peer: callable to a torch.nn.Module from NCHW images to NCHW logits.
        images: array (N, H, W, 3), float32, 0..255.
        masks: array (N, H, W), int32.
        precision: "float32" or "bfloat16".
        repeats: int. Timed rounds.
        works: sequence of str, of `PASSES`.

    Returns:
        list of dicts, one for each work.
    """
    ours = _keras_functions(build, precision, images, masks)
    peer = build_peer()
    operations = _operations(peer, images)
    theirs = _torch_functions(peer, precision, images, masks)
    rows = []
    for work in works:
        times = interleaved_medians({"keras_seg": ours[work], "torch": theirs[work]}, repeats)
        row = {
            "network": name,
            "work": work,
            "precision": precision,
            "backend": keras.backend.backend(),
            "images": list(images.shape),
            "processor": processor_name(),
            "keras_seg_seconds": times["keras_seg"],
            "torch_seconds": times["torch"],
            "ratio": times["keras_seg"] / times["torch"],
            "arithmetic_seconds": PASSES[work] * operations / matrix_rate(precision),
        }
        rows.append(row)
        print(
            f"{name:20} {work:15} {precision:9} keras_seg ({row['backend']}) {row['keras_seg_seconds']:.3f} s"
            f"   torch {row['torch_seconds']:.3f} s   ratio {row['ratio']:.2f}"
            f"   its arithmetic as one matrix product {row['arithmetic_seconds']:.3f} s",
            flush=True,
        )
    return rows


def matrix_rate(precision, side=4096):
    """Operations a second of a large matrix product by PyTorch: what a convolution can hope for at most.

    Args:
        precision: "float32" or "bfloat16".
        side: int. Of both square matrices.

    Returns:
        float, multiplications and additions a second, the median of 5.
    """
    a, b = (torch.randn(side, side, dtype=getattr(torch, precision), device=DEVICE) for _ in range(2))

    def product():
        a @ b
        wait()

    return 2 * side**3 / interleaved_medians({"product": product}, 5)["product"]


def _operations(model, images):
    """Multiplications and additions of the model's convolutions, forward."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.to(DEVICE).eval()(torch.tensor(images, device=DEVICE).permute(0, 3, 1, 2))
    return counter.get_total_flops()


def _keras_functions(build, precision, images, masks):
    keras.config.set_dtype_policy(POLICIES[precision])
    model = build()
    model.compile(keras.optimizers.Adam(1e-4), losses.CrossEntropy())

    @functools.cache
    def frozen():
        return FrozenModel(model).predict_on_batch

    return {
        "training step": lambda: model.train_on_batch(images, masks),
        "predict": lambda: model.predict_on_batch(images),
        "predict, frozen": lambda: frozen()(images),
    }


def _torch_functions(model, precision, images, masks):
    model = model.to(DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def tensors():  # Keras takes arrays too, and has them to bring to the device
        inputs = torch.tensor(images, device=DEVICE).permute(0, 3, 1, 2)  # of channels_last strides as it is
        return inputs, torch.tensor(masks, device=DEVICE).long()

    def training_step():
        model.train()
        optimizer.zero_grad()
        inputs, targets = tensors()
        with autocast(precision):
            logits = model(inputs)
        torch.nn.functional.cross_entropy(logits.float(), targets).backward()
        optimizer.step()
        wait()

    def predict():
        model.eval()
        with torch.inference_mode(), autocast(precision):
            model(tensors()[0]).float().cpu().numpy()

    # PyTorch has no such form of its own: the peer of both is the same.
    return {"training step": training_step, "predict": predict, "predict, frozen": predict}
