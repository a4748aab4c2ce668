"""Arguments of `export_model`: wrong ones are refused before anything is started or written."""

import keras
import pytest
from keras import layers

from keras_seg.export import export_model


@pytest.fixture
def model():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, layers.Conv2D(2, 1)(images), name="tiny")


def refused(error, message, *args, **kwargs):
    with pytest.raises(error, match=message):
        export_model(*args, **kwargs)


def test_formats_that_are_not_there_are_named(model, tmp_path):
    refused(ValueError, "`format` must be one of 'saved_model', 'onnx'", model, tmp_path, format="caffe")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"class_names": ["one"]}, ValueError, "`class_names` must be 2 names"),
        ({"colors": [(0, 0, 0)]}, ValueError, "`colors` must be 2 RGB triples"),
        ({"colors": [(0, 0, 0), (0, 0, 256)]}, ValueError, "`colors` must be 2 RGB triples"),
        ({"colors": [(0, 0, 0), (0, 0)]}, ValueError, "`colors` must be 2 RGB triples"),
        ({"version": 0}, ValueError, "`version` must be an integer of at least 1"),
        ({"version": "2"}, TypeError, "`version` must be an integer"),
        ({"version": 3}, FileExistsError, "exists already"),
    ],
)
def test_arguments(model, tmp_path, arguments, error, message):
    (tmp_path / "3").mkdir()
    refused(error, message, model, tmp_path, **arguments)
    assert [entry.name for entry in tmp_path.iterdir()] == ["3"]


def test_models_of_other_inputs_or_outputs(tmp_path):
    images = keras.Input((8, 8, 1))
    pooled = keras.Model(images, layers.Flatten()(images))
    two = keras.Model(images, [images, images])
    for other in (pooled, two):
        refused(ValueError, r"one input \(N, H, W, C\) and one output", other, tmp_path)
    refused(ValueError, "functional keras.Model", keras.Sequential([layers.Conv2D(1, 1)]), tmp_path)
    refused(TypeError, "keras.Model or the path", 3, tmp_path)


def test_files_that_are_no_model(tmp_path):
    refused(ValueError, "existing .keras file", tmp_path / "absent.keras", tmp_path)
    (tmp_path / "model.h5").write_bytes(b"")
    refused(ValueError, "existing .keras file", str(tmp_path / "model.h5"), tmp_path)
