"""Writes a model as a version folder that TF Serving takes: whole and checked, or not at all."""

import contextlib
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from keras_seg.export.check import SemanticCheck
from keras_seg.export.detector_check import DetectorCheck
from keras_seg.export.processes import advice_on_layers, finish, layer_modules, python_process
from keras_seg.export.report import ExportError, ExportReport
from keras_seg.export.serving_files import write_configs, write_warmup
from keras_seg.export.sizes import size_rules
from keras_seg.export.true_masks import prepare_masks
from keras_seg.inference import is_detector
from keras_seg.utils.atomic import atomic_folder
from keras_seg.utils.validation import bad_argument

_PLAIN_CLIENT = Path(__file__).with_name("plain_client.py")


def export_saved_model(
    model, path, *, source, classes, version, weights, score_threshold, check_images, check_masks
):
    """Write `path/VERSION/`; the arguments are those of `keras_seg.export.export_model`, already checked.

    Args:
        model: keras.Model of the caller's backend.
        path: Path.
        source: Path of the `.keras` file that `model` came from, or None.
        classes: list of {"id", "name", "color"}, the asset's content.
        version: int or None.
        weights: str. How the large weights are stored.
        score_threshold: float, of a detector's map of objects.
        check_images: list of arrays or None.
        check_masks: list of integer arrays, of a semantic model, or None.

    Returns:
        ExportReport.
    """
    started = time.perf_counter()
    if is_detector(model):
        rules, check = (), DetectorCheck(model, score_threshold)
    else:
        rules = size_rules(model)
        check = SemanticCheck(model, rules, weights)
    images = check.prepare(check_images)
    scored = {} if check_masks is None else {"masks": prepare_masks(check_masks, images)}
    version = _next_version(path) if version is None else version
    options = {"classes": classes, "weights": weights, "score_threshold": score_threshold}
    with contextlib.ExitStack() as stack:
        # The temporary folder's name begins with a dot: TF Serving takes only numbers for versions.
        folder = stack.enter_context(atomic_folder(path / str(version)))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_seg-export-")))
        writer = stack.enter_context(_writer(model, source, rules, options, folder, scratch))
        client = stack.enter_context(_client(folder, scratch))
        # Both processes are starting meanwhile.
        questions = check.ask(images)
        np.savez(scratch / "questions.npz", **questions)
        signatures = json.loads(
            finish(writer, "TensorFlow could not write the model", advice_on_layers(model))
        )
        finish(client, "The SavedModel was written, but could not be loaded and run", text="go\n")
        with np.load(scratch / "answers.npz") as answers:
            comparison = check.compare(dict(answers), **scored)
        if not comparison.passed:
            raise ExportError(
                f"The SavedModel answered otherwise than `predict`: {comparison}. It was removed."
            )
        write_warmup(folder, path.resolve().name, questions)
        num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    write_configs(path)
    return ExportReport(
        path=path / str(version),
        format="saved_model",
        version=version,
        backend=keras.backend.backend(),
        signatures=signatures,
        comparison=comparison,
        num_bytes=num_bytes,
        seconds=time.perf_counter() - started,
    )


def _next_version(path):
    if path.exists() and not path.is_dir():
        raise bad_argument("path", "a folder, or a name that is free", str(path))
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=0) + 1


def _writer(model, source, rules, options, folder, scratch):
    """Start the TensorFlow process that writes the SavedModel into `folder`."""
    if source is None:
        source = scratch / "model.keras"
        model.save(source)
    job = {
        "model": str(source),
        "modules": sorted(layer_modules(model)),
        "rules": [dataclasses.asdict(rule) for rule in rules],
        "folder": str(folder),
        **options,
    }
    job_file = scratch / "job.json"
    job_file.write_text(json.dumps(job), encoding="utf-8")
    return python_process("-m", "keras_seg.export.worker", str(job_file))


def _client(folder, scratch):
    """Start the process without Keras that asks the SavedModel; it waits for the word "go"."""
    # Not as a script: that would put this folder, and its module names, first on the import path.
    run = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    files = (folder, scratch / "questions.npz", scratch / "answers.npz")
    return python_process("-c", run, str(_PLAIN_CLIENT), *map(str, files))
