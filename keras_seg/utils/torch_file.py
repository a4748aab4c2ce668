"""Reads PyTorch checkpoints into NumPy arrays, without PyTorch and without running what a pickle may ask for.

Both layouts of `torch.save`: the zip archive of PyTorch 1.6 and later, and the older run of pickles. The
pickles are read by an unpickler that knows dictionaries and tensors and refuses everything else.
"""

import collections
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np

from keras_seg.utils.validation import bad_argument

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
# The first pickle of the older layout (torch.serialization.MAGIC_NUMBER).
_MAGIC = 0x1950A86A20F9469CFC6C

_Storage = collections.namedtuple("_Storage", "dtype key")
_Tensor = collections.namedtuple("_Tensor", "storage offset shape strides")


def read_torch_file(path):
    """Read the tensors of a `.pth` or `.pt` file.

    Args:
        path: str or Path. A checkpoint that holds a dictionary of tensors (a `state_dict`), or a dictionary
            with one under "state_dict" or "model".

    Returns:
        dict of str to array, in the file's order and dtypes.

    Raises:
        ValueError: not such a file, or one whose pickle asks for anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise bad_argument("path", "a checkpoint file that exists", str(path))
    try:
        tree, storages = _read_zip(path) if zipfile.is_zipfile(path) else _read_pickles(path)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint of tensors: {error}. "
            "Save the weights alone, torch.save(model.state_dict(), path), and read that file."
        ) from error
    for name in ("state_dict", "model"):
        if isinstance(tree, dict) and isinstance(tree.get(name), dict):
            tree = tree[name]
    if not isinstance(tree, dict) or not all(isinstance(value, _Tensor) for value in tree.values()):
        raise ValueError(f"{path} does not hold a dictionary of tensors. Save model.state_dict() instead.")
    return {name: _array(tensor, storages) for name, tensor in tree.items()}


class _TensorUnpickler(pickle.Unpickler):
    """Builds dictionaries and tensors; any other global in the pickle is an error."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a tensor")

    def persistent_load(self, key):
        kind, dtype, storage_key = key[:3]
        if kind != "storage" or not isinstance(dtype, str):
            raise pickle.UnpicklingError(f"it refers to {kind!r}, which is not a tensor")
        return _Storage(dtype, str(storage_key))


def _read_zip(path):
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix(
            "data.pkl"
        )
        tree = _TensorUnpickler(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
        folder = f"{root}data/"
        names = [name for name in archive.namelist() if name.startswith(folder)]
        return tree, {name.removeprefix(folder): archive.read(name) for name in names}


def _read_pickles(path):
    with path.open("rb") as file:
        if _TensorUnpickler(file).load() != _MAGIC:
            raise pickle.UnpicklingError("it does not begin as one")
        _TensorUnpickler(file).load()  # protocol
        system = _TensorUnpickler(file).load()
        tree = _TensorUnpickler(file).load()
        keys = [str(key) for key in _TensorUnpickler(file).load()]
        if not system.get("little_endian", True):
            raise pickle.UnpicklingError("it was written on a big-endian machine")
        sizes = {tensor.storage.key: np.dtype(tensor.storage.dtype).itemsize for tensor in _tensors(tree)}
        storages = {}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            storages[key] = file.read(count * sizes[key])
        return tree, storages


def _tensors(tree):
    if isinstance(tree, _Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)


def _array(tensor, storages):
    values = np.frombuffer(storages[tensor.storage.key], tensor.storage.dtype)
    # The last element that the strides reach must be inside: as_strided itself does not look.
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, tensor.storage.dtype)
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or last >= len(values):
        raise ValueError("A tensor of the checkpoint reaches beyond its storage: the file is damaged.")
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides).copy()
