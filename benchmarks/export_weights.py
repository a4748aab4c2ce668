"""What smaller weights cost: mean IU on held-out masks and file size, for each format and kind of weights.

    python -m benchmarks.export_weights
    python -m benchmarks.export_weights --keep runs/shapes --epochs 12

Trains a U-Net on drawn shapes for a few minutes, exports it in every way that a format has, and scores
`predict` and each file, run by its own runtime, on the same held-out images.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from benchmarks.timing import write_results
from keras_seg import losses, unet
from keras_seg.data import load, open_source
from keras_seg.export import ExportError, export_model
from keras_seg.export.runtime_files import RUNTIME_FORMATS

_SIZE = 96
_ROW = "  {:<13}{:<10}{:>8}{:>11}{:>11}{:>10}{:>12}"


def main():
    arguments = _parse()
    keras.utils.set_random_seed(0)
    model = _train(arguments)
    held_out = open_source(f"shapes:count={arguments.images},size={_SIZE},seed=7")
    images, masks = zip(*(held_out.read(index) for index in range(len(held_out))), strict=True)
    formats = {"saved_model": ("float32", "float16", "bfloat16", "int8")}
    formats |= {name: about.weights for name, about in RUNTIME_FORMATS.items()}
    print(_ROW.format("format", "weights", "MB", "predict", "file", "change", "same pixels"))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        for format, kinds in formats.items():
            for weights in kinds:
                row = _export(model, folder, format, weights, images, masks, held_out.class_names)
                rows.append(row)
                print(_show(row), flush=True)
    if arguments.json:
        write_results(arguments.json, rows)
        print(f"written to {arguments.json}")
    return any("failed" in row for row in rows)


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--images", type=int, default=24, help="held-out images")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the exported files there")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _train(arguments):
    train = load(f"shapes:count=400,size={_SIZE}", batch_size=8, shuffle=True)
    model = unet(4, (None, None, 3), filters=arguments.filters, depth=3, normalization="batch", dropout=0.0)
    model.compile(keras.optimizers.AdamW(2e-3), losses.CrossEntropy())
    model.fit(train, epochs=arguments.epochs, verbose=2)
    return model


def _export(model, folder, format, weights, images, masks, names):
    row = {"format": format, "weights": weights}
    suffix = RUNTIME_FORMATS[format].suffix if format in RUNTIME_FORMATS else ""
    try:
        report = export_model(
            model,
            folder / f"shapes-{weights}{suffix}",
            format=format,
            weights=weights,
            class_names=names,
            input_size=(_SIZE, _SIZE) if format == "litert" else None,
            check_images=list(images),
            check_masks=[np.asarray(mask).astype("int32") for mask in masks],
        )
    except ExportError as error:
        return row | {"failed": str(error)}
    compared = report.comparison
    before, after = compared.mean_iou
    changed = compared.other_class + compared.ties
    return row | {
        "bytes": report.num_bytes,
        "mean_iou_predict": before,
        "mean_iou_file": after,
        "same_pixels": 1 - changed / compared.pixels,
        "difference": compared.largest_difference,
        "allowed": compared.tolerance,
    }


def _show(row):
    if "failed" in row:
        return f"  {row['format']:<13}{row['weights']:<10}  {row['failed'][:200]}"
    before, after = row["mean_iou_predict"], row["mean_iou_file"]
    return _ROW.format(
        row["format"],
        row["weights"],
        f"{row['bytes'] / 1e6:.2f}",
        f"{before:.4f}",
        f"{after:.4f}",
        f"{after - before:+.4f}",
        f"{100 * row['same_pixels']:.3f} %",
    )


if __name__ == "__main__":
    sys.exit(main())
