"""Reads what a user calls a checkpoint, a dictionary or a file, into tensors by their plain names."""

import collections.abc
import os
from pathlib import Path

import numpy as np

from keras_seg.utils.optional import import_optional
from keras_seg.utils.torch_file import read_torch_file
from keras_seg.utils.validation import bad_argument

# What wrappers put before every name: torch.nn.DataParallel, torch.compile.
_PREFIXES = ("module.", "_orig_mod.")
_EXPECTED = "a dictionary of tensors (model.state_dict()) or the path of a .pth, .pt or .safetensors file"


def read_checkpoint(state_dict_or_path):
    """Read the tensors of a checkpoint.

    Nothing in a file is executed: `.pth` and `.pt` files go through `keras_seg.utils.torch_file`. A file that
    it refuses can be read by PyTorch itself and given as a dictionary.

    Args:
        state_dict_or_path: dict of str to tensors (NumPy or PyTorch, of any device and dtype), or such a dict
            under "state_dict" or "model"; or str or Path of a `.pth`, `.pt` or `.safetensors` file with one.

    Returns:
        dict of str to array or tensor, without the prefixes of wrappers; a new one, of the caller's tensors.

    Raises:
        TypeError: neither a dictionary of tensors nor a path.
        ValueError: a file that isn't there or can't be read, or two tensors of one name.
        ImportError: a `.safetensors` file, and the package `safetensors` isn't installed.
    """
    if isinstance(state_dict_or_path, (str, os.PathLike)):
        tensors = _read_file(Path(state_dict_or_path))
    elif isinstance(state_dict_or_path, collections.abc.Mapping):
        tensors = _state_dict(state_dict_or_path)
    else:
        raise bad_argument(
            "state_dict_or_path", _EXPECTED, type(state_dict_or_path).__name__, error=TypeError
        )
    plain = {_plain_name(name): tensor for name, tensor in tensors.items()}
    if len(plain) != len(tensors):
        raise ValueError(
            f"The checkpoint holds a tensor twice: with and without {' or '.join(_PREFIXES)} before its name."
        )
    return plain


def as_array(tensor):
    """A tensor as a float32 array; without a copy where it is one, on the CPU, already."""
    if hasattr(tensor, "detach"):
        # PyTorch, wherever it is from: NumPy takes no gradients, no accelerator's memory and no bfloat16.
        tensor = tensor.detach().cpu().float().numpy()
    return np.asarray(tensor, "float32")


def _state_dict(tree):
    for name in ("state_dict", "model"):
        if isinstance(tree.get(name), collections.abc.Mapping):
            tree = tree[name]
    for name, tensor in tree.items():
        if not isinstance(name, str) or not hasattr(tensor, "shape"):
            raise TypeError(
                f"`state_dict_or_path` must be {_EXPECTED}. Received a dictionary whose {name!r} is of type "
                f"{type(tensor).__name__}. Give the part of it that holds the weights."
            )
    return tree


def _read_file(path):
    if path.suffix.lower() in (".pth", ".pt"):
        return read_torch_file(path)
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    raise bad_argument("state_dict_or_path", "the path of a .pth, .pt or .safetensors file", str(path))


def _read_safetensors(path):
    safetensors = import_optional("safetensors", ".safetensors files", extra="safetensors")
    # A dependency of Keras; importing it teaches NumPy the name "bfloat16".
    import ml_dtypes  # noqa: F401

    if not path.is_file():
        raise bad_argument("state_dict_or_path", "a checkpoint file that exists", str(path))
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
    except (safetensors.SafetensorError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a .safetensors file: {error}.") from error


def _plain_name(name):
    # In any order and number, as wrappers are put around wrappers.
    while name.startswith(_PREFIXES):
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
    return name
