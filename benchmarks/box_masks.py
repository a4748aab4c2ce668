"""What ground truth masks cost and lose when each is kept for its box alone, at one size.

    python -m benchmarks.box_masks --data nuclei:data/nuclei coco:data/coco/annotations.json,data/coco
    python -m benchmarks.box_masks --data shapes:50 --sizes 28 56 112

From each object, proposals are drawn that overlap its box with an IoU of at least 0.5. Mask R-CNN's training
target for such a box, 28 x 28, is cut from the whole image's mask, and from the object's box mask. Both are
compared as shares of the bins, and as what the loss sees: whether the object covers half of a bin. Objects
are grouped by the root of their area in pixels.
"""

import argparse

import numpy as np

from keras_seg.data import open_source
from keras_seg.data.proposals import overlapping
from keras_seg.data.resizing import resize_areas
from keras_seg.ops import crop_masks
from keras_seg.utils.progress import track

TARGET = 28
GROUPS = ((0, 16), (16, 32), (32, 96), (96, np.inf))


def main():
    arguments = _parse()
    for spec in arguments.data:
        source = open_source(spec)
        rows = _rows(source, arguments)
        print(f"\n{source.describe()}\n{len(rows)} objects, {arguments.proposals} proposals each")
        print(
            f"{'side, px':>10} {'objects':>8}" + "".join(f"{name:>22}" for name in _columns(arguments.sizes))
        )
        for low, high in (*GROUPS, (0, np.inf)):
            chosen = [errors for side, errors in rows if low <= side < high]
            if chosen:
                name = "all" if (low, high) == (0, np.inf) else f"{low} to {high:g}"
                means = "".join(
                    f"{share:>12.4f} {100 * changed:>7.2f} %" for share, changed in np.mean(chosen, axis=0)
                )
                print(f"{name:>10} {len(chosen):8}{means}")
    print("\nFirst number: mean difference of a bin's share; second: bins whose target changes.")
    _print_bytes(arguments.sizes)


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=["shapes:50"], help="FORMAT:PATH, with objects")
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 56, 112], help="of the box masks")
    parser.add_argument("--objects", type=int, default=400, help="at most, drawn from each data set")
    parser.add_argument("--proposals", type=int, default=4, help="boxes for each object")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _columns(sizes):
    return [*(f"soft {size}" for size in sizes), *(f"binary {size}" for size in sizes)]


def _rows(source, arguments):
    """(side, errors) of objects: pairs of (mean difference of shares, part of targets that change)."""
    random = np.random.default_rng(arguments.seed)
    each = max(1, -(-arguments.objects // len(source)))
    rows = []
    for index in track(random.permutation(len(source)), source.name):
        image, objects = source.read_objects(int(index))
        for number in random.permutation(len(objects))[:each]:
            boxes = proposals_around(objects.boxes[number], arguments.proposals, random)
            rows.append(_errors(objects, number, boxes, image.shape[:2], arguments.sizes))
        if len(rows) >= arguments.objects:
            break
    return rows[: arguments.objects]


def proposals_around(box, count, random, least=0.5):
    """Boxes drawn around another that overlap it with an IoU of at least `least`, float32 (count, 4)."""
    sides = np.tile(box[2:] - box[:2], 2)
    found = []
    while len(found) < count:
        moved = box + random.normal(0, 0.12, 4) * sides
        if (moved[2:] > moved[:2]).all() and overlapping([moved], [box])[1][0] >= least:
            found.append(moved)
    return np.array(found, "float32")


def _errors(objects, number, boxes, image_size, sizes):
    whole = objects.full_mask(number, image_size).astype("float32")
    expected = _targets(whole, boxes)
    errors = []
    for binary in (False, True):
        for size in sizes:
            mask = resize_areas(objects.masks[number], (size, size))
            if binary:
                mask = (mask >= 0.5).astype("float32")
            shares = _targets(mask, boxes, objects.boxes[number])
            changed = (shares >= 0.5) != (expected >= 0.5)
            errors.append((np.abs(shares - expected).mean(), changed.mean()))
    return objects.areas[number] ** 0.5, errors


def _targets(mask, boxes, span=None):
    spans = None if span is None else span[None, None]
    rows = np.zeros((1, len(boxes)), "int32")
    shares = crop_masks(mask[None, None], boxes[None], rows, TARGET, mask_boxes=spans)
    return np.asarray(shares.cpu() if hasattr(shares, "cpu") else shares)[0]


def _print_bytes(sizes):
    print("\nbytes of the masks of one image with 100 rows for objects:")
    for side in (512, 1024):
        print(f"  whole, bool, {side} x {side}: {100 * side * side / 2**20:8.1f} MiB")
    for size in sizes:
        print(f"  box masks, float32, {size} x {size}: {100 * size * size * 4 / 2**20:8.2f} MiB")


if __name__ == "__main__":
    main()
