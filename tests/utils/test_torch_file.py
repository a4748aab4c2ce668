"""Checkpoints written by PyTorch itself, in both of its layouts, and by people who mean harm."""

import argparse
import io
import pickle
import subprocess
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest

from keras_seg.utils.torch_file import read_torch_file

pytestmark = pytest.mark.tf_only
torch = pytest.importorskip("torch")


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    values = {
        "conv.weight": torch.tensor(rng.normal(size=(4, 3, 2, 5)).astype("float32")),
        "half": torch.tensor(rng.normal(size=(3, 2)), dtype=torch.float16),
        "steps": torch.tensor(7),
        "empty": torch.zeros((0, 3)),
        "flags": torch.tensor([True, False]),
    }
    values["transposed"] = values["conv.weight"].permute(2, 3, 1, 0)  # shares its storage
    values["part"] = values["conv.weight"][1:3, 1]
    return values


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_reads_what_torch_wrote(tensors, zipped, key, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({key: tensors} if key else tensors, path, _use_new_zipfile_serialization=zipped)
    arrays = read_torch_file(path)
    assert list(arrays) == list(tensors)
    for name, array in arrays.items():
        expected = tensors[name].numpy()
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("zipped", [True, False])
def test_bfloat16_comes_as_float32(zipped, tmp_path):
    values = torch.tensor([[1.0, -2.5, 3.140625], [0.0, 1e30, torch.inf]], dtype=torch.bfloat16)
    path = tmp_path / "weights.pth"
    torch.save({"a": values.T, "b": values[0, 1]}, path, _use_new_zipfile_serialization=zipped)
    arrays = read_torch_file(path)
    assert arrays["a"].dtype == arrays["b"].dtype == "float32"
    np.testing.assert_array_equal(arrays["a"], values.float().numpy().T)
    np.testing.assert_array_equal(arrays["b"], -2.5)


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_are_views_of_what_was_read_and_can_be_written(tensors, zipped, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    arrays = read_torch_file(path)
    assert all(array.flags.writeable for array in arrays.values())
    assert np.shares_memory(arrays["conv.weight"], arrays["part"])


@pytest.mark.parametrize("zipped", [True, False])
def test_skips_what_is_beside_the_weights(tensors, zipped, tmp_path):
    path = tmp_path / "weights.pth"
    everything = {
        "optimizer": {"state": [{"momentum": torch.ones(3)}]},
        "args": argparse.Namespace(rate=0.1),
        "model": tensors,
        "last": [torch.zeros(2, 2)],
    }
    torch.save(everything, path, _use_new_zipfile_serialization=zipped)
    arrays = read_torch_file(path)
    assert list(arrays) == list(tensors)
    np.testing.assert_array_equal(arrays["half"], tensors["half"].numpy())


class _OldPickler(pickle.Pickler):
    """Writes tensors as PyTorch 0.3 did, and parameters with attributes."""

    def reducer_override(self, value):
        if type(value) is torch.nn.Parameter:
            return torch._utils._rebuild_parameter_with_state, (value.data, True, {}, {"tag": 1})
        if not isinstance(value, torch.Tensor):
            return NotImplemented
        storage = torch.storage.TypedStorage(
            wrap_storage=value.untyped_storage(), dtype=value.dtype, _internal=True
        )
        return torch._utils._rebuild_tensor, (storage, value.storage_offset(), value.size(), value.stride())


def test_reads_tensors_of_older_versions(tensors, tmp_path):
    """`_rebuild_tensor` without "_v2", of four arguments: torchvision's vgg16-397923af.pth is such a file."""
    path = tmp_path / "weights.pth"
    state = {**tensors, "parameter": torch.nn.Parameter(tensors["part"].clone())}
    module = types.ModuleType("old_pickle")
    module.Pickler, module.dump = _OldPickler, pickle.dump
    torch.save(state, path, pickle_module=module, _use_new_zipfile_serialization=False)
    assert b"_rebuild_tensor\n" in path.read_bytes()
    arrays = read_torch_file(path)
    assert list(arrays) == list(state)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, state[name].detach().numpy())


def test_names_the_oldest_layout_and_the_way_out(tmp_path):
    path = tmp_path / "weights.pth"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(
        ValueError, match=r"oldest layout, a tar archive.*torch.save\(torch.load\(path\), path"
    ):
        read_torch_file(path)


def test_refuses_other_zip_archives(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "no tensors")
    with pytest.raises(ValueError, match="zip archive of something else"):
        read_torch_file(path)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match="asks for torch.nn.modules.linear.Linear"):
        read_torch_file(path)


def test_refuses_a_big_endian_file(tensors, tmp_path):
    path, other = tmp_path / "weights.pth", tmp_path / "other.pth"
    torch.save(tensors, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, b"big" if name.endswith("byteorder") else archive.read(name))
    with pytest.raises(ValueError, match="big-endian"):
        read_torch_file(other)


@pytest.mark.parametrize("zipped", [True, False])
def test_runs_no_code(zipped, tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    path = tmp_path / "weights.pth"
    torch.save({"a": Harm()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="which is not a tensor"):
        read_torch_file(path)
    assert not (tmp_path / "harmed").exists()


def test_refuses_other_files(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(ValueError, match="that exists"):
        read_torch_file(path)
    for content in (b"", b"not a pickle", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as a PyTorch checkpoint"):
            read_torch_file(path)


def test_refuses_what_is_no_dictionary_of_tensors(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ValueError, match="does not hold a dictionary of tensors"):
        read_torch_file(path)


def test_refuses_a_damaged_file(tensors, tmp_path):
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=False)
    path = tmp_path / "weights.pth"
    for end in range(0, len(buffer.getvalue()) - 1, 97):
        path.write_bytes(buffer.getvalue()[:end])
        with pytest.raises(ValueError):  # noqa: PT011, the message depends on where it was cut
            read_torch_file(path)


def test_needs_no_torch(tensors, tmp_path):
    """A process in which PyTorch cannot be imported reads what PyTorch wrote."""
    path, copy = tmp_path / "weights.pth", tmp_path / "weights.npz"
    torch.save(tensors, path)
    code = f"""
import sys

class NoTorch:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTorch())
import numpy as np
from keras_seg.utils.torch_file import read_torch_file

np.savez({str(copy)!r}, **read_torch_file({str(path)!r}))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)
    with np.load(copy) as arrays:
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(arrays[name], tensor.numpy())
