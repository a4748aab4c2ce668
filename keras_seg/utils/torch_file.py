"""Reads PyTorch checkpoints into NumPy arrays, without PyTorch and without running what a pickle may ask for.

Two layouts of `torch.save`: the zip archive of PyTorch 1.6 and later, and the older run of pickles. The
pickles are read by an unpickler that knows plain values and tensors and refuses everything else. The oldest
layout, a tar archive of the time before 0.1.10, is recognized and refused.
"""

import collections
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from keras_seg.utils.validation import bad_argument

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    # NumPy has no such type: read as bits, returned as float32.
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
# The first pickle of the older layout (torch.serialization.MAGIC_NUMBER).
_MAGIC = 0x1950A86A20F9469CFC6C
# Bytes read at once.
_PART = 1 << 24

_Storage = collections.namedtuple("_Storage", "dtype key")
_Tensor = collections.namedtuple("_Tensor", "storage offset shape strides")


def read_torch_file(path):
    """Read the tensors of a `.pth` or `.pt` file.

    Args:
        path: str or Path. A checkpoint that holds a dictionary of tensors (a `state_dict`), or a dictionary
            with one under "state_dict" or "model"; what else is in there, such as an optimizer's state, is
            not read.

    Returns:
        dict of str to array, in the file's order and dtypes, bfloat16 as float32. Tensors that share memory
        in the file share it here.

    Raises:
        ValueError: not such a file, or one whose pickle asks for anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise bad_argument("path", "a checkpoint file that exists", str(path))
    # By its first bytes: a pickle is no archive, and a tar archive no pickle.
    if tarfile.is_tarfile(path):
        raise ValueError(
            f"{path} is in PyTorch's oldest layout, a tar archive, which is not read here. Load it with "
            "PyTorch and write it again: torch.save(torch.load(path), path)."
        )
    read = _read_zip if zipfile.is_zipfile(path) else _read_pickles
    try:
        return read(path)
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        OverflowError,
    ) as error:
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint of tensors: {error}. "
            "Save the weights alone, torch.save(model.state_dict(), path), and read that file."
        ) from error


class _Unread:
    """Stands for an object that checkpoints carry beside the weights; keeps nothing and does nothing."""

    def __init__(self, *_):
        pass


# What the pickles may name. None of these does anything but hold values.
_GLOBALS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "Counter"): collections.Counter,  # milestones of a learning rate schedule
    # The first of them in files from before 0.4, such as torchvision's vgg16-397923af.pth.
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: _Tensor(*parts[:4]),
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *_: tensor,
    ("torch", "Size"): tuple,
    ("torch", "device"): _Unread,
    ("argparse", "Namespace"): _Unread,  # torchvision's training scripts save their options
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    """Builds dictionaries and tensors; any other global in the pickle is an error.

    Attributes:
        dtypes: dict of str to str. The type of every storage that was referred to, by its key.
    """

    def __init__(self, file):
        super().__init__(file)
        self.dtypes = {}

    def find_class(self, module, name):
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a tensor") from None

    def persistent_load(self, key):
        kind, dtype, storage_key = key[:3]
        if kind != "storage" or dtype not in _DTYPES.values():
            raise pickle.UnpicklingError(f"it refers to {kind!r}, which is not a tensor")
        # The sixth part, of files from before 0.4: a storage that begins inside another one.
        if len(key) > 5 and key[5] is not None:
            raise pickle.UnpicklingError("it has a view of a storage, as PyTorch wrote before 0.4")
        self.dtypes[str(storage_key)] = dtype
        return _Storage(dtype, str(storage_key))


def _read_zip(path):
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        root = next((name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl")), None)
        if root is None:
            raise pickle.UnpicklingError("it is a zip archive of something else")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise pickle.UnpicklingError("it was written on a big-endian machine")
        with archive.open(f"{root}data.pkl") as file:
            tensors = _state_dict(_TensorUnpickler(file).load())
        storages = {}
        for key in {tensor.storage.key for tensor in tensors.values()}:
            member = archive.getinfo(f"{root}data/{key}")
            with archive.open(member) as file:
                storages[key] = _fill(file, member.file_size)
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def _read_pickles(path):
    with path.open("rb") as file:
        if _TensorUnpickler(file).load() != _MAGIC:
            raise pickle.UnpicklingError("it does not begin as one")
        _TensorUnpickler(file).load()  # protocol
        system = _TensorUnpickler(file).load()
        if not system.get("little_endian", True):
            raise pickle.UnpicklingError("it was written on a big-endian machine")
        unpickler = _TensorUnpickler(file)
        tensors = _state_dict(unpickler.load())
        wanted = {tensor.storage.key for tensor in tensors.values()}
        keys = [str(key) for key in _TensorUnpickler(file).load()]
        storages = {}
        for key in keys:
            size = int.from_bytes(file.read(8), "little") * _stored_dtype(unpickler.dtypes[key]).itemsize
            # Before memory is taken for it: in a damaged file the count may be anything.
            if size > os.fstat(file.fileno()).st_size - file.tell():
                raise EOFError("it ends too early")
            if key in wanted:
                storages[key] = _fill(file, size)
            else:
                file.seek(size, os.SEEK_CUR)
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def _state_dict(tree):
    """The dictionary of tensors in what a checkpoint holds."""
    for name in ("state_dict", "model"):
        if isinstance(tree, dict) and isinstance(tree.get(name), dict):
            tree = tree[name]
    if not isinstance(tree, dict) or not all(isinstance(value, _Tensor) for value in tree.values()):
        raise pickle.UnpicklingError("it does not hold a dictionary of tensors")
    return tree


def _fill(file, size):
    """The next `size` bytes as an array that can be written to, without a second copy of them."""
    storage = np.empty(size, "uint8")
    position = 0
    while position < size:
        # In parts: a file inside a zip archive makes bytes of what it is asked for, then copies them.
        count = file.readinto(memoryview(storage)[position : position + _PART])
        if not count:
            raise EOFError("it ends too early")
        position += count
    return storage


def _stored_dtype(dtype):
    return np.dtype("<u2" if dtype == "bfloat16" else dtype)


def _array(tensor, storages):
    dtype = _stored_dtype(tensor.storage.dtype)
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, "float32" if tensor.storage.dtype == "bfloat16" else dtype)
    values = storages[tensor.storage.key]
    values = values[: len(values) // dtype.itemsize * dtype.itemsize].view(dtype)
    # The last element that the strides reach must be inside: as_strided itself does not look.
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or last >= len(values):
        raise ValueError("A tensor of the checkpoint reaches beyond its storage: the file is damaged.")
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    array = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides)
    if tensor.storage.dtype == "bfloat16":
        return np.asarray(array.astype("uint32") << 16).view("float32")
    return array
