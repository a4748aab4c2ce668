"""Compares what a detector's SavedModel answers with what `predict` and `predict_instances` say.

Detections are choices: which boxes are proposed, which of two that overlap is kept, which is the last that
counts. Where two candidates are equal but for the last bits, arithmetic of another summation order chooses
the other one, and all that depends on it. So detections are the same if class, box, score and mask agree, and
a small share of others is allowed; an error in the graph would make others of them all.
"""

import dataclasses

import numpy as np

from keras_seg.data.letterbox import Letterbox
from keras_seg.export import check
from keras_seg.export.report import ExportError
from keras_seg.export.sizes import SizeRule
from keras_seg.inference import predict_instances
from keras_seg.inference.detections import draw_below
from keras_seg.inference.detector import OUTPUTS, Detector
from keras_seg.ops import box_iou

# Other detections that ties explain, of all. In 16 bits candidates are equal much more often.
_OTHERS, _OTHERS_16_BITS = 0.05, 0.3
_BOX_PIXELS = 0.1
# Of a mask at the image's size: pixels at its edge, where boxes differ in the last bits.
_MASK_PIXELS = 0.02


@dataclasses.dataclass(frozen=True)
class DetectionComparison:
    """How far the written file is from `predict`.

    Attributes:
        images: int. Number of images that both answered.
        sizes: tuple of (height, width), pixels, of those images.
        same: int. Detections with a partner of the same class, box, score and mask, over all signatures.
        others: int. Detections without one, on either side.
        allowed_others: int. What ties may explain of them; more is a failure.
        largest_differences: dict of float, among the same: "boxes" in pixels, "scores", and "masks" of
            probabilities inside the boxes.
        maps_agree: bool. The maps of objects are what the masks and scores beside them make.
    """

    images: int
    sizes: tuple
    same: int
    others: int
    allowed_others: int
    largest_differences: dict
    maps_agree: bool

    @property
    def passed(self):
        return self.others <= self.allowed_others and self.maps_agree

    def __str__(self):
        sizes = ", ".join(f"{height}x{width}" for height, width in self.sizes)
        found = f"{self.images} images ({sizes}): "
        if not self.same + self.others:
            return found + "no detections in them. Compare on your own: `check_images`"
        boxes, scores, masks = (self.largest_differences[name] for name in ("boxes", "scores", "masks"))
        found += (
            f"{self.same} detections the same, {self.others} others, allowed {self.allowed_others}; largest "
            f"difference of a box {boxes:.2g} pixels, of a score {scores:.2g}, in a mask {masks:.2g}"
        )
        return found if self.maps_agree else found + "; the maps of objects are not those of the masks"


class DetectorCheck:
    """The questions for a detector's file, and the comparison of its answers.

    Args:
        model: a detector of the caller's backend.
        score_threshold: float, of the served map of objects.
    """

    def __init__(self, model, score_threshold):
        self._model, self._detector = model, Detector(model)
        self._score_threshold = score_threshold
        precision = check.tolerance(model, 1.0)
        # Of a quarter of the longer side: the largest moves of boxes that a head makes. Encoded images are
        # resized in the graph, by weights in float32 where the reference has them in float64.
        boxes = max(_BOX_PIXELS, precision * max(self._detector.input_size) / 4)
        self._limits = {"boxes": boxes, "scores": precision}
        self._limits["masks"] = 4 * precision

    def prepare(self, images=None):
        """As `check.prepare_images`."""
        rules = [SizeRule(fixed=side) for side in self._detector.input_size]
        return check.prepare_images(self._model, rules, images)

    def ask(self, images):
        """Questions for the plain client; the answers that are expected are kept for `compare`."""
        images = [image.astype("float32") for image in images]
        canvases = [Letterbox(image.shape[:2], self._detector.input_size).image(image) for image in images]
        # Whole grey values, so that both dtypes of the signatures can be asked the same.
        questions = {"batch_0": np.rint(np.stack(canvases))}
        outputs = self._model.predict(questions["batch_0"], batch_size=1, verbose=0)
        self._arrays = {name: np.asarray(outputs[name]) for name in OUTPUTS}
        if not all(np.isfinite(values).all() for values in self._arrays.values()):
            raise ExportError(
                "`predict` gives NaN or infinite detections on the images of the check: the training has "
                "diverged. Export an earlier checkpoint."
            )
        self._found = predict_instances(self._model, images)
        for i, image in enumerate(images):
            questions[f"bytes_{i}"] = np.frombuffer(check.encode_png(image.astype("uint8")), "uint8")
        return questions

    def compare(self, answers):
        """Compare the plain client's answers with the expected ones.

        Returns:
            DetectionComparison.
        """
        pairs, maps_agree = [], True
        for i, found in enumerate(self._found):
            expected = _rows({name: values[i] for name, values in self._arrays.items()})
            for name in ("serving_default", "serving_uint8"):
                served = _rows({output: answers[f"{name}_0_{output}"][i] for output in OUTPUTS})
                pairs.append((expected, served))
            if f"instance_{i}" in answers:
                served, agrees = self._served(answers, i, found.image_size)
                pairs.append((_full(found), served))
                maps_agree &= agrees
        counts, differences = zip(*(self._partners(*pair) for pair in pairs), strict=True)
        same, others = np.sum(counts, axis=0).tolist()
        reduced = self._limits["scores"] > 0.01
        return DetectionComparison(
            images=len(self._found),
            sizes=tuple(dict.fromkeys(found.image_size for found in self._found)),
            same=same,
            others=others,
            allowed_others=max(1, round((same + others) * (_OTHERS_16_BITS if reduced else _OTHERS))),
            largest_differences={
                name: max((values[name] for values in differences), default=0.0) for name in self._limits
            },
            maps_agree=bool(maps_agree),
        )

    def _served(self, answers, i, size):
        """What `serve_bytes` said of one image; and whether its map of objects is that of its masks."""
        count = int(answers[f"num_detections_{i}"])
        served = {name: answers[f"{name}_{i}"][:count] for name in ("boxes", "labels", "scores")}

        def full_mask(k):
            mask = check.decode_png(answers[f"mask_{i}_{k}"]) == 255
            if mask.shape != size:
                raise ExportError(f"A mask has the size {mask.shape}, its image {size}.")
            return mask

        ids = np.zeros(size, "uint16")
        for k in range(int((served["scores"] >= self._score_threshold).sum())):
            draw_below(ids, full_mask(k), k + 1)
        agrees = np.array_equal(ids, check.decode_png(answers[f"instance_{i}"]))
        return {**served, "full_mask": full_mask}, agrees

    def _partners(self, expected, served):
        """((same, others), largest differences among the same) of one image."""
        largest = dict.fromkeys(self._limits, 0.0)
        left, same = list(range(len(served["labels"]))), 0
        overlaps = np.asarray(box_iou(expected["boxes"], served["boxes"])) if left else None
        for k in range(len(expected["labels"])):
            alike = [other for other in left if served["labels"][other] == expected["labels"][k]]
            if not alike:
                continue
            other = max(alike, key=lambda other: overlaps[k, other])
            differences = {
                name: float(np.abs(expected[name][k] - served[name][other]).max(initial=0))
                for name in self._limits
                if name in expected
            }
            if all(differences[name] <= self._limits[name] for name in differences) and _same_mask(
                expected, k, served, other
            ):
                left.remove(other)
                same += 1
                largest |= {name: max(largest[name], value) for name, value in differences.items()}
        return (same, len(expected["labels"]) - same + len(left)), largest


def _rows(outputs):
    """One image's detections without padding."""
    count = int(outputs["num_detections"])
    return {name: outputs[name][:count] for name in OUTPUTS if name != "num_detections"}


def _full(found):
    """Detections as a dict, with masks at the image's size, one when it is asked for."""
    names = ("boxes", "labels", "scores", "full_mask")
    return {name: getattr(found, name) for name in names}


def _same_mask(expected, k, served, other):
    if "full_mask" not in expected:
        return True
    first, second = expected["full_mask"](k), served["full_mask"](other)
    return (first != second).sum() <= 2 + _MASK_PIXELS * (first | second).sum()
