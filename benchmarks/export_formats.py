"""The table model x backend x format: how far each exported file is from `predict`, on real images.

    python -m benchmarks.export_formats
    python -m benchmarks.export_formats --models unet fcn_8s --backends jax --formats onnx openvino
    python -m benchmarks.export_formats --weights float16 int8 --backends tensorflow

Each model is drawn once, in small, with scores that tell classes apart; each backend then loads it, exports
it in each format by `export_model`, which runs the file by its own runtime in a fresh process, and compares.
Images are photographs of the PASCAL VOC sample, cut to the sizes that the table names. Differences are of
logits, and for Mask R-CNN of probabilities; "other" are pixels of another class, or detections without a
partner.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import write_results

_ROOT = Path(__file__).parents[1]
_BACKENDS = ("tensorflow", "jax", "torch")
_SUFFIX = {"saved_model": "", "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}
_SIZES = ((224, 224), (180, 203))
_ROW = "  {:<11}{:<12}{:<13}{:<10}{:>11}{:>10}{:>12}{:>8}{:>9}"


def main():
    arguments = _parse()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        print(
            _ROW.format(
                "model", "backend", "format", "weights", "difference", "allowed", "other", "MB", "mean IU"
            )
        )
        for name in arguments.models:
            _draw(name, Path(folder))
            for backend in arguments.backends:
                for row in _export(name, backend, folder, arguments):
                    rows.append(row)
                    print(_show(row), flush=True)
    passed = [row for row in rows if "failed" not in row]
    close = [row for row in passed if row["difference"] < 1e-3 or row["other"] + row["ties"] == 0]
    print(
        f"{len(passed)} of {len(rows)} exported and compared; of these {len(close)} differ by less than "
        "1e-3 or have identical class maps"
    )
    if arguments.json:
        write_results(arguments.json, rows)
        print(f"written to {arguments.json}")
    return len(passed) < len(rows)


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(_MODELS), choices=_MODELS)
    parser.add_argument("--backends", nargs="+", default=_BACKENDS, choices=_BACKENDS)
    parser.add_argument("--formats", nargs="+", default=list(_SUFFIX), choices=_SUFFIX)
    parser.add_argument("--weights", nargs="+", default=["float32"])
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data", help="real data sets")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _draw(name, folder):
    """Write a small model of that name as `.keras`, in a process with the TensorFlow backend."""
    code = f"from benchmarks.export_formats import draw; draw({name!r}, {str(folder / name)!r} + '.keras')"
    _python("tensorflow", "-c", code)


def draw(name, file):
    """Build the model, give its scores random weights, and save it."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model = _MODELS[name]()
    rng = np.random.default_rng(1)
    if name == "mask_rcnn":
        draw_heads(model, rng)
    for layer in model._flatten_layers():
        # An FCN starts with scores of zero and DeconvNet with tiny ones: then all classes would be ties.
        if layer.name.startswith(("score", "seg_score")) and layer.get_weights():
            shapes = [weight.shape for weight in layer.get_weights()]
            layer.set_weights([rng.normal(size=shape).astype("float32") for shape in shapes])
    model.save(file)


def draw_heads(model, rng):
    """Give a Mask R-CNN random heads that are surer of some boxes than of others."""
    for head in (model.rpn_head, model.box_head, model.mask_head):
        for weight in head.weights:
            if weight.path.endswith("kernel"):
                scale = 0.35 * (2 / math.prod(weight.shape[:-1])) ** 0.5
                weight.assign(scale * rng.normal(size=weight.shape))


def _fcn(variant):
    from keras_seg import fcn

    return fcn(21, (None, None, 3), variant=variant, backbone="efficientnet_lite0")


def _deconvnet():
    from keras_seg import deconvnet

    return deconvnet(21, (224, 224, 3), width=1 / 16)


def _unet():
    from keras_seg import unet

    return unet(21, (None, None, 3), filters=16, depth=3, normalization="batch")


def _ensemble():
    from keras_seg.inference import ensemble

    return ensemble([_deconvnet(), _fcn("8s")])


def _mask_rcnn():
    from keras_seg import mask_rcnn

    return mask_rcnn(
        20,
        (224, 224, 3),
        backbone="resnet18_fpn",
        pyramid_filters=64,
        head_units=128,
        mask_filters=32,
        anchor_sizes=(16, 32, 64, 96, 128),
        pre_nms=(500, 500),
        max_proposals=(300, 300),
    )


_MODELS = {
    "unet": _unet,
    "fcn_8s": lambda: _fcn("8s"),
    "fcn_16s": lambda: _fcn("16s"),
    "fcn_32s": lambda: _fcn("32s"),
    "deconvnet": _deconvnet,
    "ensemble": _ensemble,
    "mask_rcnn": _mask_rcnn,
}
# A detector's file is a SavedModel: `export_model` says so for the others.
_ONLY = {"mask_rcnn": ["saved_model"]}


def _export(name, backend, folder, arguments):
    """Rows of one model on one backend, one for each format and kind of weights."""
    for weights in arguments.weights:
        for format in _ONLY.get(name, arguments.formats):
            row = {"model": name, "backend": backend, "format": format, "weights": weights}
            target = Path(folder) / f"{name}-{backend}-{weights}{_SUFFIX[format]}"
            code = (
                "from benchmarks.export_formats import export; "
                f"export({str(Path(folder) / name)!r} + '.keras', {str(target)!r}, {format!r}, {weights!r}, "
                f"{str(arguments.data)!r})"
            )
            done = _python(backend, "-c", code, check=False)
            if done.returncode:
                row["failed"] = (done.stderr.strip().splitlines() or ["no message"])[-1][:300]
                yield row
            else:
                yield row | json.loads(done.stdout.strip().splitlines()[-1])


def export(source, target, format, weights, data):
    """Export one file and print its row as JSON; in a process of the backend's own."""
    from keras_seg.export import export_model
    from keras_seg.export.detector_check import DetectionComparison

    report = export_model(
        source,
        target,
        format=format,
        weights=weights,
        input_size=(224, 224) if format == "litert" else None,
        check_images=photographs(data),
    )
    compared = report.comparison
    figures = {"bytes": report.num_bytes, "seconds": report.seconds}
    if isinstance(compared, DetectionComparison):
        largest = compared.largest_differences
        # Of probabilities; boxes are in pixels.
        figures |= {"difference": max(largest["scores"], largest["masks"]), "box_pixels": largest["boxes"]}
        figures |= {"other": compared.others, "same": compared.same, "ties": 0}
    else:
        figures |= {"difference": compared.largest_difference, "allowed": compared.tolerance}
        figures |= {"other": compared.other_class, "ties": compared.ties, "pixels": compared.pixels}
        figures["mean_iou"] = compared.agreement
    print(json.dumps(figures))


def photographs(data):
    """Two photographs of the VOC sample, cut from their middles."""
    import numpy as np
    from PIL import Image

    images = []
    paths = sorted((Path(data) / "voc_sample" / "JPEGImages").iterdir())
    for path, (height, width) in zip(paths, _SIZES, strict=False):
        image = np.asarray(Image.open(path).convert("RGB"))
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        images.append(image[top : top + height, left : left + width])
    return images


def _python(backend, *arguments, check=True):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=_ROOT, env=environment, capture_output=True, text=True, check=check
    )


def _show(row):
    head = [row[key] for key in ("model", "backend", "format", "weights")]
    if "failed" in row:
        return "  {:<11}{:<12}{:<13}{:<10}  {}".format(*head, row["failed"])
    if "same" in row:
        figures = (f"{row['difference']:.1e}", "", str(row["other"]), f"{row['bytes'] / 1e6:.1f}", "")
        found = f"   of {row['same']} detections, boxes within {row['box_pixels']:.1e} pixels"
        return _ROW.format(*head, *figures).rstrip() + found
    other = str(row["other"]) if not row["ties"] else f"{row['other']} +{row['ties']}"
    figures = (f"{row['difference']:.1e}", f"{row['allowed']:.1e}", other, f"{row['bytes'] / 1e6:.1f}")
    return _ROW.format(*head, *figures, f"{row['mean_iou']:.4f}")


if __name__ == "__main__":
    sys.exit(main())
