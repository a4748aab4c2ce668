"""COCO's average precision and recall, of boxes and of masks, counted by pycocotools."""

import contextlib
import io
import math

import numpy as np

from keras_seg.utils.optional import import_optional
from keras_seg.utils.validation import check_integer

# pycocotools' name of what is compared, and ours.
_KINDS = {"bbox": "box", "segm": "mask"}
_SIZES = ("all", "small", "medium", "large")


class CocoScores:
    """Takes truth and detections image by image, as boxes and run lengths, and scores them all at the end.

    Detections are scored as COCO does it: all that are given, at most `max_detections` an image by score.
    Crowd regions hide what lies in them and are not missed. An object's size, by which it counts as small
    (below 32 x 32 pixels), medium or large (from 96 x 96), is its mask's, also where boxes are compared.

    Args:
        class_names: sequence of str, by label.
        max_detections: int, default 100. COCO's number; take more where images hold more objects.

    Reference:
        Lin et al., 2014, Microsoft COCO: Common Objects in Context; cocodataset.org, "Detection Evaluate".
    """

    def __init__(self, class_names, max_detections=100):
        self.class_names = tuple(class_names)
        self.max_detections = check_integer("max_detections", max_detections)
        self._counts = [count for count in (1, 10) if count < max_detections] + [self.max_detections]
        # Ids begin at 1: pycocotools takes 0 for "not matched".
        self._images, self._truth, self._found = [], [], []

    def add(self, objects, detections):
        """Count one image.

        Args:
            objects: Objects, the truth.
            detections: Detections in the same image.
        """
        image_id, size = len(self._images) + 1, detections.image_size
        self._images.append({"id": image_id, "height": int(size[0]), "width": int(size[1])})
        rows = _rows(image_id, objects, objects.to_rle(size))
        for row, area, crowd in zip(rows, objects.areas, objects.crowd, strict=True):
            self._truth.append(
                {**row, "id": len(self._truth) + 1, "area": float(area), "iscrowd": int(crowd)}
            )
        rows = _rows(image_id, detections, detections.to_rle())
        for row, score in zip(rows, detections.scores, strict=True):
            row.update(id=len(self._found) + 1, score=float(score))
            self._found.append(row)

    def result(self):
        """The scores of all images so far.

        Returns:
            dict of float, for "box" and for "mask": "box_ap" (mean over IoU 0.50 to 0.95), "box_ap50",
            "box_ap75", "box_ap_small", "_medium", "_large", "box_ar1", "box_ar10", "box_ar100" (the most
            detections counted an image), "box_ar_small", "_medium", "_large", and "box_ap/NAME" for each
            class. NaN where there is no object to be found.
        """
        scores = {}
        for kind in _KINDS:
            precision, recall = self._evaluate(kind)
            scores.update(self._named(_KINDS[kind], precision, recall))
        return scores

    def _evaluate(self, kind):
        """pycocotools' precision (T, R, K, A, M) and recall (T, K, A, M), -1 where nothing is to be found."""
        coco_eval = import_optional("pycocotools.cocoeval", "COCO's scores", extra="coco")
        # pycocotools reports on standard output, which is the caller's.
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = coco_eval.COCOeval(
                self._data_set(self._truth), self._data_set(self._compared(kind)), kind
            )
            evaluation.params.maxDets = self._counts
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval["precision"], evaluation.eval["recall"]

    def _compared(self, kind):
        """The detections with the areas of what is compared."""
        from pycocotools import mask

        for row in self._found:
            area = row["bbox"][2] * row["bbox"][3] if kind == "bbox" else mask.area(row["segmentation"])
            yield {**row, "area": float(area), "iscrowd": 0}

    def _data_set(self, rows):
        from pycocotools.coco import COCO

        data = COCO()
        data.dataset = {
            "images": self._images,
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(self.class_names)],
            "annotations": [dict(row) for row in rows],
        }
        data.createIndex()
        return data

    def _named(self, name, precision, recall):
        scores = {
            f"{name}_ap": _mean(precision[:, :, :, 0, -1]),
            f"{name}_ap50": _mean(precision[0, :, :, 0, -1]),
            f"{name}_ap75": _mean(precision[5, :, :, 0, -1]),
        }
        for place, size in enumerate(_SIZES[1:], start=1):
            scores[f"{name}_ap_{size}"] = _mean(precision[:, :, :, place, -1])
        for place, count in enumerate(self._counts):
            scores[f"{name}_ar{count}"] = _mean(recall[:, :, 0, place])
        for place, size in enumerate(_SIZES[1:], start=1):
            scores[f"{name}_ar_{size}"] = _mean(recall[:, :, place, -1])
        for label, class_name in enumerate(self.class_names):
            scores[f"{name}_ap/{class_name}"] = _mean(precision[:, :, label, 0, -1])
        return scores


def _rows(image_id, objects, rles):
    """What annotations and results have in common: image, category, box x, y, width, height, and mask."""
    boxes = np.asarray(objects.boxes, "float64").reshape(-1, 4)
    boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    for box, label, rle in zip(boxes, objects.labels, rles, strict=True):
        yield {"image_id": image_id, "category_id": int(label) + 1, "bbox": box, "segmentation": rle}


def _mean(values):
    counted = values[values > -1]
    return float(counted.mean()) if counted.size else math.nan
