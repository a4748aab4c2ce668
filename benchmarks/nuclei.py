"""A detector of nuclei scored as the StarDist paper does, beside its table.

    python -m benchmarks.nuclei runs/nuclei2/model.keras data/nuclei
    python -m benchmarks.nuclei runs/nuclei2/model.keras data/nuclei --picture nuclei.png

AP(t) = TP / (TP + FP + FN) over all objects of the held-out images, those of `examples/train_nuclei.py`. The
score above which a detection counts is chosen on images of the training part. The paper (Schmidt et al. 2018,
table 1) takes the fluorescence images alone, a part of its own to train and one to test; here they are told
by their dark ground, and all images are scored too.
"""

import argparse

import keras
import numpy as np

from benchmarks.timing import write_results
from keras_seg.data import open_source
from keras_seg.inference import predict_instances
from keras_seg.metrics.instances import instance_matches, precision_of_matches
from keras_seg.utils.progress import track
from keras_seg.viz import detection_grid, save_png

HELD_OUT = 0.15
PERCENT = (50, 55, 60, 65, 70, 75, 80, 85, 90)
STARDIST = {
    "U-Net, 2 classes": (0.6739, 0.6295, 0.5975, 0.5650, 0.5339, 0.4819, 0.4151, 0.3248, 0.2032),
    "U-Net, 3 classes": (0.8060, 0.7753, 0.7431, 0.7011, 0.6543, 0.5777, 0.4910, 0.3738, 0.2258),
    "Mask R-CNN": (0.8323, 0.8051, 0.7728, 0.7299, 0.6838, 0.5974, 0.4893, 0.3525, 0.1891),
    "StarDist": (0.8641, 0.8361, 0.8043, 0.7545, 0.6850, 0.5862, 0.4495, 0.2865, 0.1191),
}
CANDIDATES = tuple(percent / 100 for percent in range(20, 85, 5))
_DARK = 100


def main():
    arguments = _parse()
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.saving.load_model(arguments.model)
    train, held_out = open_source(f"nuclei:{arguments.data}").split(HELD_OUT, seed=0)
    chosen_on = train.subset(np.linspace(0, len(train) - 1, arguments.choose_on).astype(int))
    seeing = {
        "min_scale": arguments.min_scale,
        "augment": arguments.augment,
        "batch_size": arguments.batch_size,
    }
    score = _best_score(_found(model, chosen_on, seeing))
    print(f"detections count from a score of {score:.2f}, the best of {len(chosen_on)} training images")
    found = _found(model, held_out, seeing)
    dark = [item for item in found if np.median(item[0]) < _DARK]
    rows = {
        f"here, {len(found)} images of all kinds": _precisions(found, score),
        f"here, {len(dark)} fluorescence images": _precisions(dark, score),
    }
    print(f"{'':34}" + "  ".join(f" .{percent}  " for percent in PERCENT))
    for name, values in {**STARDIST, **rows}.items():
        print(f"{name:34}" + "  ".join(f"{value:.4f}" for value in values))
    if arguments.picture:
        shown = [found[i] for i in np.linspace(0, len(found) - 1, arguments.rows).astype(int)]
        save_png(arguments.picture, detection_grid(shown, held_out.object_names, score))
    if arguments.json:
        write_results(arguments.json, {"score": score, "iou_percent": PERCENT, "rows": rows})


def _found(model, data, seeing):
    """(image, Objects, Detections) of every image."""
    items = []
    for index in track(range(len(data)), "finding"):
        image, truth = data.read_objects(index)
        items.append((image, truth, predict_instances(model, [image], **seeing)[0]))
    return items


def _precisions(items, score):
    """AP at each IoU of `PERCENT`."""
    matches = [
        instance_matches(truth.id_map(image.shape[:2]), found.above(score).id_map())
        for image, truth, found in items
    ]
    precisions = precision_of_matches(matches)
    return [precisions[f"ap{percent}"] for percent in PERCENT]


def _best_score(items):
    return max(CANDIDATES, key=lambda score: _precisions(items, score)[0])


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="model.keras of examples/train_nuclei.py")
    parser.add_argument("data", help="folder with images/ and instances/")
    parser.add_argument("--min-scale", type=float, default=2.0, help="least scale of images")
    parser.add_argument("--augment", choices=("mirror", "all"), help="means over flips and turns")
    parser.add_argument("--batch-size", type=int, default=1, help="windows of an image at once")
    parser.add_argument("--choose-on", type=int, default=40, help="training images, to choose the score by")
    parser.add_argument("--picture", metavar="FILE", help="PNG of truth and detections")
    parser.add_argument("--rows", type=int, default=5, help="images in it")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
