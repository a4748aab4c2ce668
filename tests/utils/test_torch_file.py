"""Checkpoints written by PyTorch itself, in both of its layouts, and by people who mean harm."""

import io
import pickle

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
