"""ONNX, OpenVINO and LiteRT files: each is loaded by its own runtime and answers as `predict` does."""

import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg import unet
from keras_seg.export import ExportError, check, export_model

CLASSES = ["background", "cell", "border"]
NEEDED = {
    "onnx": ("tf2onnx", "onnxruntime"),
    "openvino": ("openvino", "nncf"),
    "litert": ("ai_edge_litert",),
}
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}


def need(format):
    for module in NEEDED[format]:
        pytest.importorskip(module, reason=f"{format} needs its extra")


def small_unet():
    return unet(3, (None, None, 3), filters=8, depth=1)


def images_of(*sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype="uint8") for size in sizes]


def export(model, path, format, **options):
    """An export at one size where the format has one; else of free size, compared at two."""
    size = (24, 32) if format == "litert" else None
    return export_model(
        model,
        path / f"model{SUFFIX[format]}",
        format=format,
        input_size=size,
        class_names=CLASSES,
        check_images=images_of((24, 32), (17, 21)),
        **options,
    )


@pytest.mark.parametrize("format", NEEDED)
def test_each_format_answers_as_predict(format, tmp_path):
    need(format)
    report = export(small_unet(), tmp_path, format)
    assert report.comparison.passed
    assert report.comparison.largest_difference < 1e-3
    assert report.comparison.agreement == 1
    assert report.comparison.sizes == (((24, 32),) if format == "litert" else ((24, 32), (17, 21)))
    assert report.backend == keras.backend.backend()
    files = sorted(entry.name for entry in tmp_path.iterdir())
    assert files == (["model.bin", "model.xml"] if format == "openvino" else [report.path.name])
    assert report.num_bytes == sum(entry.stat().st_size for entry in tmp_path.iterdir())
    described = report.signatures["images to logits"]
    assert described.startswith(
        "images float32 (1, 24, 32, 3)" if format == "litert" else "images float32 (?, ?,"
    )
    assert "classes int32" in described
    assert json.loads(_classes_in(report.path))["classes"][1]["name"] == "cell"


def _classes_in(path):
    """The class table that the file carries, read with the format's own tools."""
    if path.suffix == ".onnx":
        import onnx

        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}["classes"]
    if path.suffix == ".xml":
        import openvino

        return openvino.Core().read_model(path).get_rt_info(["keras_seg", "classes"]).astype(str)
    with zipfile.ZipFile(path) as archive:
        return archive.read("classes.json").decode()


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("format", "weights"),
    [
        ("onnx", "bfloat16"),
        ("onnx", "int8"),
        ("openvino", "float16"),
        ("openvino", "int8"),
        ("litert", "float16"),
        ("litert", "int8"),
        ("saved_model", "float16"),
        ("saved_model", "int8"),
    ],
)
@pytest.mark.slow
def test_smaller_weights_make_smaller_files_that_keep_the_answer(format, weights, tmp_path):
    model = unet(3, (None, None, 3), filters=16, depth=2)
    images = images_of((32, 32))
    if format == "saved_model":
        report = export_model(model, tmp_path / "served", weights=weights, check_images=images)
        stored = sum(file.stat().st_size for file in (report.path / "variables").iterdir())
    else:
        need(format)
        size = (32, 32) if format == "litert" else None
        path = tmp_path / f"model{SUFFIX[format]}"
        report = export_model(
            model, path, format=format, weights=weights, input_size=size, check_images=images
        )
        stored = report.num_bytes
    assert report.comparison.passed
    assert report.comparison.largest_difference > 0
    assert report.comparison.agreement > 0.9
    assert f"with {weights} weights" in str(report)
    share = {"float16": 0.65, "bfloat16": 0.65, "int8": 0.5}[weights]
    assert stored < share * 4 * model.count_params() + 60_000


@pytest.mark.tf_only
def test_an_answer_unlike_predict_leaves_no_file(tmp_path, monkeypatch):
    need("onnx")
    predict = check._predict

    def shifted(model, images):
        logits = predict(model, images)
        logits[0, 0, 0, 0] += 1
        return logits

    monkeypatch.setattr(check, "_predict", shifted)
    with pytest.raises(ExportError, match="answered otherwise than `predict`.*of a logit 1"):
        export(small_unet(), tmp_path, "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tf_only
def test_what_a_format_cannot_do_is_refused_with_what_works(tmp_path):
    model = small_unet()

    def refused(error, message, path, **options):
        with pytest.raises(error, match=message):
            export_model(model, tmp_path / path, **options)

    for format in NEEDED:
        need(format)
    refused(ValueError, "`path` must be a name that ends in .onnx", "model", format="onnx")
    refused(ValueError, "input_size=.288, 384.; or use format='onnx'", "model.tflite", format="litert")
    refused(ValueError, "use weights='float16'", "m.xml", format="openvino", weights="bfloat16")
    refused(
        ValueError,
        "use weights='float16'",
        "m.tflite",
        format="litert",
        weights="bfloat16",
        input_size=(16, 16),
    )
    refused(ValueError, "`weights` must be one of", "m.onnx", format="onnx", weights="int4")
    refused(ValueError, "a file without versions", "m.onnx", format="onnx", version=2)
    refused(ValueError, "signatures take every size", "served", input_size=(16, 16))
    refused(ValueError, "must be .height, width. in pixels", "m.onnx", format="onnx", input_size=16)
    refused(TypeError, "an integer of at least 1", "m.onnx", format="onnx", input_size=(16, "a"))
    (tmp_path / "there.bin").write_bytes(b"")
    refused(FileExistsError, "there.bin exists already", "there.xml", format="openvino")
    assert [entry.name for entry in tmp_path.iterdir()] == ["there.bin"]


@pytest.mark.tf_only
def test_sizes_that_a_model_does_not_take_are_refused(tmp_path):
    need("onnx")
    fixed = unet(2, (16, 16, 1), filters=2, depth=1)
    with pytest.raises(ValueError, match="the model's own, .16, 16."):
        export_model(fixed, tmp_path / "m.onnx", format="onnx", input_size=(32, 16))
    unpadded = unet(2, (None, None, 1), filters=2, depth=1, padding="valid")
    with pytest.raises(ValueError, match="a size that the model takes"):
        export_model(unpadded, tmp_path / "m.onnx", format="onnx", input_size=(4, 4))


@pytest.mark.tf_only
def test_one_class_and_an_unpadded_network(tmp_path):
    need("onnx")
    model = unet(1, (None, None, 1), filters=4, depth=1, padding="valid")
    image = np.random.default_rng(0).integers(0, 256, (40, 51, 1), dtype="uint8")
    report = export_model(model, tmp_path / "m.onnx", format="onnx", check_images=[image])
    assert report.comparison.passed
    # Mirrored to a size that the network takes: the output covers the image.
    assert all(side >= wanted for side, wanted in zip(report.comparison.sizes[0], (40, 51), strict=True))


@pytest.mark.tf_only
def test_operations_that_a_runtime_lacks_are_named(tmp_path):
    need("litert")
    images = keras.Input((8, 8, 1))
    model = keras.Model(
        images, layers.Conv2D(2, 1)(keras.ops.sort(images, axis=1) + keras.ops.erfinv(images / 999))
    )
    with pytest.raises(ExportError, match="could not be written as litert; saved_model, onnx, openvino may"):
        export_model(model, tmp_path / "m.tflite", format="litert")
    assert list(tmp_path.iterdir()) == []
