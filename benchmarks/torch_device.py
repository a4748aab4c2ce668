"""Where PyTorch runs as the peer: on the GPU where there is one."""

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def wait():
    """Return when all work that was given to the device is done."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def device_name():
    """The GPU's name for itself, or "cpu"."""
    return torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE


def autocast(precision):
    """PyTorch's own mixed precision, off for "float32"."""
    return torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=precision == "bfloat16")
