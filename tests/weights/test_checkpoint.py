"""Every form in which people have the weights of a network gives the same tensors, and none runs code."""

import argparse
import builtins
import collections
import sys

import numpy as np
import pytest

from keras_seg.weights.checkpoint import as_array, read_checkpoint

pytestmark = pytest.mark.tf_only
torch = pytest.importorskip("torch")


@pytest.fixture
def module():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))


def expected_of(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def check(received, expected):
    assert list(received) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(as_array(received[name]), array)


class TestForms:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("key", [None, "state_dict", "model"])
    def test_torch_file(self, module, zipped, key, tmp_path):
        path = tmp_path / "weights.pth"
        state = module.state_dict()
        torch.save({key: state} if key else state, path, _use_new_zipfile_serialization=zipped)
        check(read_checkpoint(path), expected_of(module))
        check(read_checkpoint(str(path)), expected_of(module))

    @pytest.mark.parametrize("zipped", [True, False])
    def test_what_a_training_script_saves(self, module, zipped, tmp_path):
        optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
        sum(parameter.sum() for parameter in module.parameters()).backward()
        optimizer.step()
        everything = {
            "model": torch.nn.DataParallel(module).state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": {"milestones": collections.Counter([3, 5]), "size": torch.Size([2])},
            "args": argparse.Namespace(lr=0.1, device="cuda"),
            "epoch": 7,
        }
        path = tmp_path / "checkpoint.pt"
        torch.save(everything, path, _use_new_zipfile_serialization=zipped)
        check(read_checkpoint(path), expected_of(module))

    def test_dictionaries(self, module):
        expected = expected_of(module)
        for state in (
            expected,
            module.state_dict(),
            dict(module.named_parameters()) | dict(module.named_buffers()),  # these want gradients
            {"state_dict": module.state_dict(), "epoch": 3},
            {f"module.{name}": tensor for name, tensor in expected.items()},
            {f"module._orig_mod.{name}": tensor for name, tensor in expected.items()},
            {f"_orig_mod.module.{name}": tensor for name, tensor in expected.items()},
            {f"module.module._orig_mod.{name}": tensor for name, tensor in expected.items()},
            {name: tensor.double() for name, tensor in module.state_dict().items()},
        ):
            received = read_checkpoint(state)
            check({name: received[name] for name in expected}, expected)

    @pytest.mark.parametrize("form", ["dictionary", "torch", "safetensors"])
    def test_bfloat16(self, module, form, tmp_path):
        state = module.bfloat16().state_dict()
        if form == "torch":
            torch.save(state, tmp_path / "w.pth")
        elif form == "safetensors":
            pytest.importorskip("safetensors.torch").save_file(state, tmp_path / "w.safetensors")
        source = {"dictionary": state, "torch": tmp_path / "w.pth"}.get(form, tmp_path / "w.safetensors")
        received = read_checkpoint(source)
        for name, tensor in state.items():
            array = as_array(received[name])
            assert array.dtype == "float32"
            np.testing.assert_array_equal(array, tensor.float().numpy())

    def test_safetensors(self, module, tmp_path):
        path = tmp_path / "w.safetensors"
        pytest.importorskip("safetensors.torch").save_file(module.state_dict(), path)
        received = read_checkpoint(path)
        check({name: received[name] for name in expected_of(module)}, expected_of(module))

    def test_the_callers_dictionary_is_left_alone(self, module):
        state = module.state_dict()
        read_checkpoint(state).clear()
        assert len(state) == 9

    def test_arrays_are_not_copied(self, module):
        tensor = module.state_dict()["0.weight"]
        assert np.shares_memory(as_array(tensor), tensor.numpy())


class TestErrors:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_in_a_file_is_refused_and_not_run(self, module, zipped, tmp_path):
        class Harm:
            def __reduce__(self):
                return builtins.open, (str(tmp_path / "harmed"), "w")

        path = tmp_path / "weights.pth"
        torch.save({**module.state_dict(), "x": Harm()}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match="asks for .*open, which is not a tensor"):
            read_checkpoint(path)
        assert not (tmp_path / "harmed").exists()

    def test_a_whole_module_is_refused(self, module, tmp_path):
        torch.save(module, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match=r"torch.save\(model.state_dict\(\), path\)"):
            read_checkpoint(tmp_path / "weights.pth")

    @pytest.mark.parametrize("name", ["none.pth", "none.safetensors"])
    def test_no_file(self, name, tmp_path):
        with pytest.raises(ValueError, match="file that exists"):
            read_checkpoint(tmp_path / name)

    def test_a_damaged_safetensors_file(self, tmp_path):
        pytest.importorskip("safetensors")
        (tmp_path / "w.safetensors").write_bytes(b"not one of them")
        with pytest.raises(ValueError, match=r"cannot be read as a .safetensors file"):
            read_checkpoint(tmp_path / "w.safetensors")

    def test_safetensors_not_installed(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "safetensors", None)
        with pytest.raises(ImportError, match=r"pip install 'keras-seg\[safetensors\]'"):
            read_checkpoint(tmp_path / "w.safetensors")

    def test_other_kinds(self, module, tmp_path):
        with pytest.raises(ValueError, match=r"\.pth, \.pt or \.safetensors file"):
            read_checkpoint("weights.h5")
        with pytest.raises(TypeError, match=r"model.state_dict\(\)"):
            read_checkpoint(module)
        with pytest.raises(TypeError, match="'epoch' is of type int"):
            read_checkpoint({"epoch": 3, "net": module.state_dict()})

    def test_a_name_with_and_without_prefix(self):
        with pytest.raises(ValueError, match="a tensor twice"):
            read_checkpoint({"a.weight": np.zeros(2), "module.a.weight": np.ones(2)})
