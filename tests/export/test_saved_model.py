"""The whole export on every backend: its files, equality with `predict`, versions, nothing half-written."""

import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_seg import unet
from keras_seg.export import ExportError, check, export_model, processes, saved_model

CLASSES = ["background", "cell", "border"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One export, shared by the tests that only read it: a model, a report, and the images compared."""
    keras.utils.set_random_seed(0)
    model = unet(3, (None, None, 3), filters=4, depth=2)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype="uint8") for size in ((24, 16), (24, 16), (13, 21))]
    report = export_model(
        model, tmp_path_factory.mktemp("served") / "cells", class_names=CLASSES, check_images=images
    )
    return model, report, images


def test_the_folder_is_what_tensorflow_serving_wants(exported):
    _, report, _ = exported
    assert report.path.name == "1"
    names = sorted(entry.name for entry in report.path.parent.iterdir())
    assert names == ["1", "batching.config", "models.config"]
    assert (report.path / "assets.extra" / "tf_serving_warmup_requests").is_file()
    assert (report.path / "saved_model.pb").is_file()
    assert (report.path / "variables" / "variables.index").is_file()
    assert report.num_bytes == sum(f.stat().st_size for f in report.path.rglob("*") if f.is_file())


def test_the_report_says_what_was_compared(exported):
    _, report, _ = exported
    assert report.backend == keras.backend.backend()
    assert report.comparison.sizes == ((24, 16), (13, 21))
    assert report.comparison.largest_difference <= report.comparison.tolerance
    lines = str(report).splitlines()
    assert lines[0].startswith(f"{report.path}: saved_model, ")
    assert "serve_bytes      image_bytes string (?) -> mask_bytes string (?)" in str(report)
    assert "images uint8 (?, ?, ?, 3) -> logits float32 (?, ?, ?, 3), probabilities float32" in str(report)
    assert "0 of" in lines[-1] and keras.backend.backend() in lines[-1]


def test_classes_are_an_asset(exported):
    _, report, _ = exported
    content = json.loads((report.path / "assets" / "classes.json").read_text())
    assert content["classes"][0] == {"id": 0, "name": "background", "color": [0, 0, 0]}
    assert [entry["name"] for entry in content["classes"]] == CLASSES


def test_a_process_without_keras_gets_what_predict_gives(exported, tmp_path):
    model, report, images = exported
    file = io.BytesIO()
    Image.fromarray(images[2]).save(file, "PNG")
    batch = np.stack(images[:2]).astype("float32")
    np.savez(tmp_path / "questions.npz", images=batch, png=np.frombuffer(file.getvalue(), "uint8"))
    script = Path(__file__).with_name("plain_tensorflow.py")
    arguments = [report.path, tmp_path / "questions.npz", tmp_path / "answers.npz"]
    subprocess.run([sys.executable, script, *map(str, arguments)], check=True)
    answers = np.load(tmp_path / "answers.npz")

    # float32 convolutions of other summation order: 72 products, depth 2.
    np.testing.assert_allclose(answers["logits"], model.predict(batch, verbose=0), atol=1e-3)
    mask = np.asarray(Image.open(io.BytesIO(answers["mask"].tobytes())))
    assert mask.dtype == np.uint8
    assert mask.shape == (13, 21)
    assert (mask == model.predict(images[2][None], verbose=0)[0].argmax(-1)).mean() > 0.99

    facts = json.loads(str(answers["facts"]))
    arrays = {"logits": "float32", "probabilities": "float32", "classes": "int32"}
    assert facts["signatures"] == {
        "serving_default": [{"images": "float32"}, arrays],
        "serving_uint8": [{"images": "uint8"}, arrays],
        "serve_bytes": [{"image_bytes": "string"}, {"mask_bytes": "string"}],
    }
    # Nothing that runs Python or needs another library, and nothing that is not a stock op.
    import tensorflow as tf

    assert not {"PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaCallModule"} & set(facts["ops"])
    assert [op for op in facts["ops"] if not hasattr(tf.raw_ops, op)] == []


@pytest.mark.tf_only
def test_saved_model_cli_runs_it(exported, tmp_path):
    model, report, images = exported
    np.save(tmp_path / "images.npy", images[0][None].astype("float32"))
    # None makes an import fail.
    run = (
        "import sys; sys.modules['keras'] = sys.modules['keras_seg'] = None; "
        "from tensorflow.python.tools import saved_model_cli; saved_model_cli.main()"
    )
    options = f"--dir {report.path} --tag_set serve --signature_def serving_default".split()
    files = ["--inputs", f"images={tmp_path / 'images.npy'}", "--outdir", str(tmp_path)]
    subprocess.run([sys.executable, "-c", run, "run", *options, *files], check=True, capture_output=True)
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(logits, model.predict(images[0][None], verbose=0), atol=1e-3)


@pytest.mark.tf_only
def test_warmup_requests_are_the_questions_of_the_check(exported):
    protos = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    )
    import tensorflow as tf

    _, report, images = exported
    file = report.path / "assets.extra" / "tf_serving_warmup_requests"
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(file))]
    requests = [protos.PredictionLog.FromString(record).predict_log.request for record in records]
    served = tf.saved_model.load(str(report.path)).signatures
    for request in requests:
        spec = request.model_spec
        assert spec.name == report.path.parent.name == "cells"
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        if spec.signature_name == "serve_bytes":
            inputs = {name: tf.constant(value.numpy().tolist()) for name, value in inputs.items()}
        outputs = served[spec.signature_name](**inputs)
        assert all(output.shape[0] == 1 for output in outputs.values())
    np.testing.assert_array_equal(tf.make_ndarray(requests[1].inputs["images"])[0], images[0])


@pytest.mark.tf_only
def test_a_file_is_exported_as_the_next_version(exported, tmp_path):
    model, report, images = exported
    model.save(tmp_path / "model.keras")
    colors = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    path = tmp_path / "served"
    (path / "6").mkdir(parents=True)
    second = export_model(tmp_path / "model.keras", path, colors=colors, check_images=images)
    assert second.version == 7
    assert sorted(entry.name for entry in path.iterdir() if entry.is_dir()) == ["6", "7"]
    assert second.comparison.passed
    classes = json.loads((second.path / "assets" / "classes.json").read_text())["classes"]
    assert [entry["color"] for entry in classes] == [list(color) for color in colors]
    assert [entry["name"] for entry in classes] == ["0", "1", "2"]


def test_bfloat16_keeps_float32_logits(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = unet(2, (20, 24, 1), filters=4, depth=1)
    report = export_model(model, tmp_path, check_images=[np.full((20, 24, 1), 99), np.eye(30)[..., None]])
    assert report.comparison.passed
    assert "images float32 (?, 20, 24, 1) -> logits float32 (?, 20, 24, 2)" in str(report)


@pytest.mark.tf_only
def test_an_answer_unlike_predict_leaves_no_version(exported, tmp_path, monkeypatch):
    model, _, images = exported
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"the version in use")
    predict = check._predict

    def shifted(model, images):
        logits = predict(model, images)
        logits[0, 0, 0, 0] += 1
        return logits

    monkeypatch.setattr(check, "_predict", shifted)
    with pytest.raises(ExportError, match="answered otherwise than `predict`.*of a logit 1"):
        export_model(model, tmp_path, check_images=images)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"the version in use"


def test_an_interrupted_export_leaves_nothing_and_never_shows_a_number(exported, tmp_path, monkeypatch):
    model, _, images = exported
    seen, started = [], []
    process = processes.subprocess.Popen

    def spy(*args, **kwargs):
        started.append(process(*args, **kwargs))
        return started[-1]

    def interrupted(*args):
        seen.extend(entry.name for entry in tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(processes.subprocess, "Popen", spy)
    monkeypatch.setattr(saved_model, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_model(model, tmp_path, check_images=images)
    # TensorFlow Serving takes whole numbers for versions and nothing else.
    assert len(seen) == 1
    assert not seen[0].isdecimal()
    assert list(tmp_path.iterdir()) == []
    assert [child.poll() is not None for child in started] == [True, True]


@pytest.mark.tf_only
def test_layers_of_the_users_own_modules_are_imported(tmp_path, monkeypatch):
    (tmp_path / "halving_layers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable(package='user')\n"
        "class Halve(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return inputs / 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import halving_layers

    images = keras.Input((8, 8, 1))
    inner = keras.Model(images, halving_layers.Halve()(images))
    model = keras.Model(images, layers.Conv2D(2, 1)(inner(images)))
    assert export_model(model, tmp_path / "served").comparison.passed


@pytest.mark.tf_only
def test_layers_of_the_running_script_are_refused_with_advice(tmp_path):
    @keras.saving.register_keras_serializable(package="user")
    class Scripted(layers.Layer):
        def call(self, inputs):
            return inputs

    Scripted.__module__ = "__main__"
    images = keras.Input((8, 8, 1))
    model = keras.Model(images, layers.Conv2D(2, 1)(Scripted()(images)))
    with pytest.raises(ExportError, match="Scripted comes from the running script.*Move it to a module"):
        export_model(model, tmp_path / "served")
    assert list((tmp_path / "served").iterdir()) == []


@pytest.mark.tf_only
def test_versions_count_on_from_the_largest(tmp_path):
    assert saved_model._next_version(tmp_path / "absent") == 1
    for name in ("2", "10", ".11-0123456789ab", "notes"):
        (tmp_path / name).mkdir()
    assert saved_model._next_version(tmp_path) == 11
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`path` must be a folder"):
        saved_model._next_version(tmp_path / "file")
