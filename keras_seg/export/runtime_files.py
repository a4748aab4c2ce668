"""ONNX, OpenVINO and LiteRT files: written by a TensorFlow process, asked by one without Keras."""

import contextlib
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from keras_seg.export.array_network import check_input_size
from keras_seg.export.check import SemanticCheck
from keras_seg.export.processes import advice_on_layers, finish, layer_modules, python_process
from keras_seg.export.report import ExportError, ExportReport
from keras_seg.export.sizes import SizeRule, size_rules
from keras_seg.export.true_masks import prepare_masks
from keras_seg.utils.optional import import_optional
from keras_seg.utils.validation import bad_argument, check_choice

_CLIENT = Path(__file__).with_name("runtime_client.py")


@dataclasses.dataclass(frozen=True)
class RuntimeFormat:
    """One file format and what its exporter can do.

    Attributes:
        suffix: str, of the file.
        beside: tuple of str, suffixes of files that belong to it.
        modules: tuple of (module, what needs it): writer and runtime.
        extra: str. The extra of keras-seg that brings them.
        weights: tuple of str. How weights can be stored.
        fixed: bool. Whether height, width and a batch of one are fixed in the file.
        others: dict of weights to what works instead.
    """

    suffix: str
    beside: tuple
    modules: tuple
    extra: str
    weights: tuple
    fixed: bool
    others: dict


RUNTIME_FORMATS = {
    "onnx": RuntimeFormat(
        suffix=".onnx",
        beside=(),
        modules=(
            ("tf2onnx", "ONNX exports"),
            ("onnx", "ONNX exports"),
            ("onnxruntime", "Checks of ONNX files"),
        ),
        extra="onnx",
        weights=("float32", "float16", "bfloat16", "int8"),
        fixed=False,
        others={},
    ),
    "openvino": RuntimeFormat(
        suffix=".xml",
        beside=(".bin",),
        modules=(("openvino", "OpenVINO exports"),),
        extra="openvino",
        weights=("float32", "float16", "int8"),
        fixed=False,
        others={"bfloat16": "OpenVINO stores no bfloat16 weights: use weights='float16'."},
    ),
    "litert": RuntimeFormat(
        suffix=".tflite",
        beside=(),
        modules=(("ai_edge_litert", "Checks of LiteRT files"),),
        extra="litert",
        weights=("float32", "float16", "int8"),
        fixed=True,
        others={"bfloat16": "LiteRT stores no bfloat16 weights: use weights='float16'."},
    ),
}


def export_runtime_file(
    model, path, *, format, source, classes, input_size, weights, check_images, check_masks
):
    """Write `path`; the arguments are those of `keras_seg.export.export_model`, already checked.

    Args:
        model: keras.Model of the caller's backend.
        path: Path. Its suffix is the format's; it must not exist.
        format: key of RUNTIME_FORMATS.
        source: Path of the `.keras` file that `model` came from, or None.
        classes: list of {"id", "name", "color"}, stored inside the file.
        input_size: (height, width) or None.
        weights: str.
        check_images: list of arrays or None.
        check_masks: list of integer arrays or None.

    Returns:
        ExportReport.
    """
    started = time.perf_counter()
    about = RUNTIME_FORMATS[format]
    size = _check(model, path, format, about, input_size, weights)
    rules = size_rules(model)
    if size:
        outputs = model.compute_output_shape((1, *size, model.input_shape[-1]))[1:3]
        rules = tuple(SizeRule(fixed=s, margin=s - o) for s, o in zip(size, outputs, strict=True))
    check = SemanticCheck(model, rules, weights, signatures=("file",))
    images = check.prepare(check_images)
    masks = prepare_masks(check_masks, images)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_seg-export-")))
        # In the same folder as the file, so that it appears by a rename.
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent))
        )
        file = folder / path.name
        writer = stack.enter_context(_writer(model, source, format, size, weights, classes, file, scratch))
        client = stack.enter_context(_client(format, file, scratch))
        arrays = {key: value for key, value in check.ask(images).items() if key.startswith("batch_")}
        np.savez(scratch / "questions.npz", **arrays)
        described = json.loads(finish(writer, _failure(format), advice_on_layers(model)))
        finish(client, f"The {format} file was written, but its runtime could not run it", text="go\n")
        with np.load(scratch / "answers.npz") as answers:
            comparison = check.compare(dict(answers), masks)
        if not comparison.passed:
            raise ExportError(
                f"The {format} file answered otherwise than `predict`: {comparison}. It was removed."
            )
        files = [file.with_suffix(suffix) for suffix in (*about.beside, about.suffix)]
        num_bytes = sum(part.stat().st_size for part in files)
        # The file that readers open comes last.
        for part in files:
            os.rename(part, path.with_suffix(part.suffix))
    return ExportReport(
        path=path,
        format=format,
        version=None,
        backend=keras.backend.backend(),
        signatures={"images to logits": described},
        comparison=comparison,
        num_bytes=num_bytes,
        seconds=time.perf_counter() - started,
    )


def _check(model, path, format, about, input_size, weights):
    """Refuse what the format cannot hold, with what works instead; return the fixed size or None."""
    if path.suffix != about.suffix:
        raise bad_argument("path", f"a name that ends in {about.suffix} for format={format!r}", str(path))
    for suffix in (*about.beside, about.suffix):
        if path.with_suffix(suffix).exists():
            raise FileExistsError(f"{path.with_suffix(suffix)} exists already. Choose another name.")
    check_choice("weights", weights, about.weights, about.others.get(weights))
    for module, purpose in about.modules:
        import_optional(module, purpose, about.extra)
    size = check_input_size(model, input_size)
    if about.fixed and size is None:
        size = model.input_shape[1:3]
        if None in size:
            raise bad_argument(
                "input_size",
                f"(height, width) for format={format!r}, whose files have one size",
                input_size,
                "Give the size that images will have, as input_size=(288, 384); or use format='onnx', "
                "'openvino' or 'saved_model', which keep height and width free.",
            )
    return size


def _failure(format):
    others = [name for name in ("saved_model", *RUNTIME_FORMATS) if name != format]
    return f"The model could not be written as {format}; {', '.join(others)} may take it"


def _writer(model, source, format, size, weights, classes, file, scratch):
    if source is None:
        source = scratch / "model.keras"
        model.save(source)
    job = {
        "model": str(source),
        "modules": sorted(layer_modules(model)),
        "format": format,
        "input_size": size,
        "batch_size": 1 if RUNTIME_FORMATS[format].fixed else None,
        "weights": weights,
        "classes": classes,
        "file": str(file),
    }
    job_file = scratch / "job.json"
    job_file.write_text(json.dumps(job), encoding="utf-8")
    return python_process("-m", "keras_seg.export.runtime_writer", str(job_file))


def _client(format, file, scratch):
    # Not as a script: that would put this folder, and its module names, first on the import path.
    run = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    files = (file, scratch / "questions.npz", scratch / "answers.npz")
    return python_process("-c", run, str(_CLIENT), format, *map(str, files))
