"""Writes a model as a version folder that TF Serving takes: whole and checked, or not at all."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from keras_seg.export import check
from keras_seg.export.report import ExportError, ExportReport
from keras_seg.export.sizes import size_rules
from keras_seg.utils.atomic import atomic_folder
from keras_seg.utils.validation import bad_argument

_PLAIN_CLIENT = Path(__file__).with_name("plain_client.py")


def export_saved_model(model, path, *, source, classes, version, check_images):
    """Write `path/VERSION/`; the arguments are those of `keras_seg.export.export_model`, already checked.

    Args:
        model: keras.Model of the caller's backend.
        path: Path.
        source: Path of the `.keras` file that `model` came from, or None.
        classes: list of {"id", "name", "color"}, the asset's content.
        version: int or None.
        check_images: list of arrays or None.

    Returns:
        ExportReport.
    """
    started = time.perf_counter()
    rules = size_rules(model)
    images = check.prepare_images(model, rules, check_images)
    version = _next_version(path) if version is None else version
    with contextlib.ExitStack() as stack:
        # The temporary folder's name begins with a dot: TF Serving takes only numbers for versions.
        folder = stack.enter_context(atomic_folder(path / str(version)))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_seg-export-")))
        writer = stack.enter_context(_writer(model, source, rules, classes, folder, scratch))
        client = stack.enter_context(_client(folder, scratch))
        # Both processes are starting meanwhile.
        questions, batches, singles = check.ask(model, rules, images)
        np.savez(scratch / "questions.npz", **questions)
        signatures = json.loads(_finish(writer, "TensorFlow could not write the model", _advice(model)))
        _finish(client, "The SavedModel was written, but could not be loaded and run", text="go\n")
        with np.load(scratch / "answers.npz") as answers:
            comparison = check.compare(model, dict(answers), batches, singles)
        if not comparison.passed:
            raise ExportError(
                f"The SavedModel answered otherwise than `predict`: {comparison}. It was removed."
            )
        num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
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


def _writer(model, source, rules, classes, folder, scratch):
    """Start the TensorFlow process that writes the SavedModel into `folder`."""
    if source is None:
        source = scratch / "model.keras"
        model.save(source)
    job = {
        "model": str(source),
        "modules": sorted(_modules(model)),
        "rules": [dataclasses.asdict(rule) for rule in rules],
        "classes": classes,
        "folder": str(folder),
    }
    job_file = scratch / "job.json"
    job_file.write_text(json.dumps(job), encoding="utf-8")
    return _process("-m", "keras_seg.export.worker", str(job_file))


def _client(folder, scratch):
    """Start the process without Keras that asks the SavedModel; it waits for the word "go"."""
    # Not as a script: that would put this folder, and its module names, first on the import path.
    run = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    files = (folder, scratch / "questions.npz", scratch / "answers.npz")
    return _process("-c", run, str(_PLAIN_CLIENT), *map(str, files))


@contextlib.contextmanager
def _process(*arguments):
    """A child Python on the CPU, with TensorFlow as Keras backend; it does not outlive the context."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # All that this process can import, the modules beside the user's script too.
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(
        [sys.executable, *arguments], env=environment, text=True, encoding="utf-8", errors="replace", **pipes
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _finish(process, failure, advice="", text=""):
    """Wait for a child process and return its last line of output, or raise with its last words."""
    output, errors = process.communicate(text)
    if process.returncode:
        words = "\n".join(errors.strip().splitlines()[-12:])
        raise ExportError(f"{failure} (exit status {process.returncode}).{advice} Its last words:\n{words}")
    return output.strip().rpartition("\n")[2]


def _modules(model):
    """The modules whose import registers the model's layers, for those that Keras does not bring itself."""
    modules = {layer.__class__.__module__ for layer in _with_sublayers(model)}
    return {name for name in modules if name.partition(".")[0] not in ("keras", "__main__")}


def _with_sublayers(model):
    yield model
    for layer in getattr(model, "layers", ()):
        yield from _with_sublayers(layer)


def _advice(model):
    """What to do about layers that no other process can import, if the model has any."""
    own = {type(layer).__name__ for layer in _with_sublayers(model) if type(layer).__module__ == "__main__"}
    if not own:
        return ""
    return (
        f" {', '.join(sorted(own))} comes from the running script, which no other process can import. Move "
        "it to a module of its own."
    )
