"""Detections as COCO's results: the JSON that its tools, and the challenge's server, read."""

import json

from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.validation import bad_argument


def coco_results(detections, image_ids, category_ids):
    """Detections as a list of dicts, as `pycocotools.coco.COCO.loadRes` takes it.

    Args:
        detections: sequence of Detections, one an image.
        image_ids: sequence of int, the ids of those images in the annotations (`Source.image_ids`).
        category_ids: sequence of int, the id of each label's category there (`Source.category_ids`).

    Returns:
        list of {"image_id", "category_id", "bbox", "score", "segmentation"}: boxes x, y, width, height in
        pixels of the image, masks as compressed run-length encodings.

    Raises:
        ValueError: not one id for each image, or a label without a category.
    """
    detections, image_ids = list(detections), list(image_ids)
    if len(image_ids) != len(detections):
        raise bad_argument("image_ids", f"{len(detections)} ids, one an image", f"{len(image_ids)} ids")
    results = []
    for found, image_id in zip(detections, image_ids, strict=True):
        for box, label, score, rle in zip(
            found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), found.to_rle(), strict=True
        ):
            if label >= len(category_ids):
                raise bad_argument("category_ids", f"ids for all labels, {label} too", list(category_ids))
            x1, y1, x2, y2 = box
            results.append(
                {
                    "image_id": int(image_id),
                    "category_id": int(category_ids[label]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                }
            )
    return results


def write_coco_results(path, detections, image_ids, category_ids):
    """Write `coco_results` as a JSON file; a file that is there is replaced at the end, not before.

    Args:
        path: str or Path. Its folder is made if absent.
        detections, image_ids, category_ids: as for `coco_results`.

    Example:

        >>> write_coco_results("results.json", found, data.image_ids, data.category_ids)
        >>> pycocotools.coco.COCO("annotations.json").loadRes("results.json")
    """
    results = coco_results(detections, image_ids, category_ids)
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(results) + "\n")
