"""Mask R-CNN as one Keras model: trained by `fit`, asked by `predict`, saved with its parts.

Letters: N images, G ground truth rows, P proposals, S sampled ones, D detections, K object classes.
"""

import contextlib
import math

import keras
from keras import ops

from keras_seg.layers.channel_of_conv import ChannelOfConv2D
from keras_seg.layers.roi_layers import RoIAlign, RoIPool
from keras_seg.losses import detection as losses
from keras_seg.models.detector_settings import DetectorSettings
from keras_seg.models.detector_truth import checked_truth
from keras_seg.ops.detection_selection import select_detections
from keras_seg.ops.detection_targets import anchor_targets, mask_targets, sample_proposals
from keras_seg.ops.region_proposals import select_proposals
from keras_seg.ops.row_gather import take_rows_of_each
from keras_seg.ops.row_parts import in_parts
from keras_seg.ops.rows_in_use import rows_in_use, with_padding
from keras_seg.utils.validation import bad_argument

LOSSES = ("objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss")
# In `predict` on a CPU: the maps of 64 boxes, 51 MB before the last layer, twice that in float32.
_MASKS_AT_ONCE = 64


@keras.saving.register_keras_serializable(package="keras_seg")
class MaskRCNN(keras.Model):
    """A two-stage detector with masks. `keras_seg.mask_rcnn` builds one; this class is what it returns.

    `call` gives detections; with `training=True` it gives the maps and the region proposal network's outputs,
    from which `compute_loss` draws samples and runs the heads. So ground truth needs no second pass through
    the backbone, and `fit`, `evaluate` and `predict` are Keras's own, on every backend.

    Reference: He et al. 2017, Mask R-CNN.

    Args:
        features: keras.Model, images (N, H, W, C) of a fixed size to a dict of maps {"P2": ..., "P6": ...}.
        rpn_head: keras.Model, one map to logits (N, h, w, A) and deltas (N, h, w, 4A).
        box_head: keras.Model, features of boxes to logits (B, K + 1) and deltas (B, 4 (K + 1)).
        mask_head: keras.Model, features of boxes to logits (B, m, n, K + 1), by a 1x1 convolution at its end.
        shared_stage: keras.Model that both heads' features go through first, or None.
        settings: `DetectorSettings`: every number of the method.

    Call arguments:
        images: (N, H, W, C), 0..255, uint8 or float, of the size that `features` has.

    Returns:
        dict: "boxes" float32 (N, D, 4), xyxy in pixels, best first; "labels" int32 (N, D), 0..K-1, -1 in
        padding rows; "scores" float32 (N, D), 0 in padding rows; "masks" float32 (N, D, m, n), probabilities
        inside the box; "num_detections" int32 (N,).
    """

    def __init__(self, features, rpn_head, box_head, mask_head, shared_stage, settings, **kwargs):
        super().__init__(**kwargs)
        self.features = features
        self.rpn_head = rpn_head
        self.box_head = box_head
        self.mask_head = mask_head
        self.shared_stage = shared_stage
        self.settings = settings
        self.image_size = tuple(features.input_shape[1:3])
        self.num_classes = box_head.output_shape[0][-1] - 1
        self.mask_size = tuple(mask_head.output_shape[1:3])
        self.anchors = settings.anchors_of(self.image_size, _map_sizes(features))
        self.box_regions = self._region_layer(box_head, "box_regions")
        self.mask_regions = self._region_layer(mask_head, "mask_regions")
        self._mask_of_class = _one_class_of(mask_head)
        self.seeds = keras.random.SeedGenerator(settings.seed)
        self.loss_trackers = [keras.metrics.Mean(name=name) for name in LOSSES]
        self._scoring = False
        self.built = True

    @property
    def input_shape(self):
        """(None, height, width, channels), of the images."""
        return self.features.input_shape

    def call(self, images, training=False):
        maps = self.features(images, training=training)
        logits, deltas = self._region_outputs(maps, training)
        if training or self._scoring:
            return {"maps": maps, "rpn_logits": logits, "rpn_deltas": deltas}
        return self._detections(maps, logits, deltas)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The sum of the five losses, each also a metric of its name.

        Args:
            x: images, not used.
            y: dict: "boxes" (N, G, 4), xyxy in pixels; "labels" (N, G), 0..K-1, -1 in padding rows; "masks"
                (N, G, h, w), of the whole image where (h, w) is its size, else each spanning its own box;
                and, where there are crowd regions, "crowd" bool (N, G): neither object nor background.
            y_pred: what `call` gave with `training=True`.
            sample_weight: None.
            training: bool.

        Returns:
            float32 scalar.
        """
        if self.loss is not None:
            raise bad_argument("loss", "None in `compile`: Mask R-CNN brings its five losses", self.loss)
        truth = checked_truth(y, sample_weight, self.num_classes)
        objectness, rpn_box = self._region_losses(y_pred, truth)
        samples = self._samples(y_pred, truth)
        heads = self._head_losses(y_pred["maps"], samples, truth, training)
        total = 0.0
        for tracker, loss in zip(self.loss_trackers, (objectness, rpn_box, *heads), strict=True):
            tracker.update_state(loss)
            total = total + loss
        for penalty in self.losses:
            total = total + ops.sum(penalty)
        return total

    def test_step(self, *args, **kwargs):
        # Whatever the backend's step is: the losses need what `call` gives in training, not detections.
        with self._scores_truth():
            return super().test_step(*args, **kwargs)

    def propose(self, images):
        """Proposals of the region proposal network, best first, for other networks or for looking at.

        Args:
            images: as in `call`.

        Returns:
            boxes float32 (N, P, 4), xyxy in pixels, and probabilities float32 (N, P); 0 in padding rows.
        """
        outputs = self._region_outputs(self.features(images, training=False), False)
        boxes, scores = self._proposals(*outputs, training=False)
        return boxes, ops.where(scores > -math.inf, ops.sigmoid(scores), 0.0)

    def get_config(self):
        parts = ("features", "rpn_head", "box_head", "mask_head", "shared_stage")
        return {
            "name": self.name,
            "trainable": self.trainable,
            "settings": self.settings.as_dict(),
            **{part: keras.saving.serialize_keras_object(getattr(self, part)) for part in parts},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = ("features", "rpn_head", "box_head", "mask_head", "shared_stage")
        config = {
            name: keras.saving.deserialize_keras_object(value, custom_objects) if name in parts else value
            for name, value in config.items()
        }
        config["settings"] = DetectorSettings(**config["settings"])
        return cls(**config)

    @contextlib.contextmanager
    def _scores_truth(self):
        self._scoring = True
        try:
            yield
        finally:
            self._scoring = False

    def _region_layer(self, head, name):
        size = (self.shared_stage or head).input_shape[1:3]
        settings = self.settings
        options = {"canonical_size": settings.canonical_size, "name": name}
        if len(self.features.output) == 1:
            level = next(iter(self.features.output))
            options = {"spatial_scale": 1 / 2 ** int(level[1:]), "name": name}
        if settings.roi_layer == "pool":
            return RoIPool(size, **options)
        return RoIAlign(size, sampling_ratio=settings.sampling_ratio, aligned=settings.aligned, **options)

    def _region_outputs(self, maps, training):
        """Logits (N, A_k) and deltas (N, A_k, 4) of each level."""
        logits, deltas = [], []
        for level in sorted(maps):
            scores, moves = self.rpn_head(maps[level], training=training)
            logits.append(ops.reshape(scores, (-1, len(self.anchors[level]))))
            deltas.append(ops.reshape(moves, (-1, len(self.anchors[level]), 4)))
        return logits, deltas

    def _anchor_boxes(self):
        """Of each level, finest first, (A_k, 4)."""
        return [self.anchors[level].boxes() for level in sorted(self.anchors)]

    def _proposals(self, logits, deltas, training):
        settings = self.settings
        number = 0 if training else 1
        return select_proposals(
            logits,
            deltas,
            self._anchor_boxes(),
            self.image_size,
            pre_nms=settings.pre_nms[number],
            max_proposals=settings.max_proposals[number],
            iou_threshold=settings.rpn_nms_threshold,
        )

    def _regions(self, layer, maps, boxes, training):
        """Features of the boxes (N, B, 4) as one batch (N * B, h, w, C)."""
        if len(maps) == 1:
            maps = next(iter(maps.values()))
        else:
            # The coarsest level serves the proposals only.
            maps = {level: maps[level] for level in sorted(maps)[:-1]}
        features = layer([maps, ops.stop_gradient(boxes)])
        features = ops.reshape(features, (-1, *features.shape[2:]))
        return features if self.shared_stage is None else self.shared_stage(features, training=training)

    def _detections(self, maps, logits, deltas):
        boxes, scores = self._proposals(logits, deltas, training=False)
        levels, most = sorted(maps), self.settings.max_detections
        kinds = {
            "boxes": ((most, 4), "float32"),
            "labels": ((most,), "int32"),
            "scores": ((most,), "float32"),
            "num_detections": ((), "int32"),
            "masks": ((most, *self.mask_size), "float32"),
        }

        def found(boxes, scores, *maps):
            return self._detections_of(dict(zip(levels, maps, strict=True)), boxes, scores)

        # The features of an image's 1000 boxes are 50 MB, and as much again while they are made.
        return in_parts(found, (boxes, scores, *(maps[level] for level in levels)), 1, kinds)

    def _detections_of(self, maps, boxes, scores):
        """What the heads say of proposals (N, P, 4) and their scores (N, P)."""
        settings = self.settings
        class_logits, box_deltas = self.box_head(self._regions(self.box_regions, maps, boxes, False))
        count = boxes.shape[1]
        found = select_detections(
            ops.reshape(class_logits, (-1, count, self.num_classes + 1)),
            ops.reshape(box_deltas, (-1, count, self.num_classes + 1, 4)),
            boxes,
            scores > -math.inf,
            self.image_size,
            score_threshold=settings.score_threshold,
            iou_threshold=settings.nms_threshold,
            max_detections=settings.max_detections,
            box_weights=settings.box_weights,
        )
        most = settings.max_detections
        rows = rows_in_use(found["num_detections"], most)
        boxes, labels = found["boxes"][:, :rows], found["labels"][:, :rows]
        logits = self._mask_logits(maps, boxes, labels + 1, training=False)
        masks = ops.where((labels >= 0)[..., None, None], ops.sigmoid(logits), 0.0)
        return {**found, "masks": with_padding(masks, most)}

    def _mask_logits(self, maps, boxes, classes, training):
        """Logits (N, B, m, n) of the mask of each box's class, 1 for label 0."""
        regions = self._regions(self.mask_regions, maps, boxes, training)
        chosen = ops.reshape(ops.maximum(classes, 0), (-1,))

        def logits_of(regions, chosen):
            return {"logits": self._mask_of_class(regions, chosen, training)}

        if training:
            logits = logits_of(regions, chosen)["logits"]
        else:
            kinds = {"logits": (self.mask_size, "float32")}
            logits = in_parts(logits_of, (regions, chosen), _MASKS_AT_ONCE, kinds)["logits"]
        return ops.reshape(logits, (-1, ops.shape(boxes)[1], *self.mask_size))

    def _region_losses(self, y_pred, truth):
        settings = self.settings
        rows, labels, targets = anchor_targets(
            ops.concatenate(self._anchor_boxes()),
            truth["boxes"],
            truth["labels"] >= 0,
            truth.get("crowd"),
            thresholds=settings.rpn_thresholds,
            crowd_threshold=settings.crowd_threshold,
            num_samples=settings.rpn_samples,
            positive_fraction=settings.rpn_positive_fraction,
            seed=self.seeds,
        )
        logits = take_rows_of_each(ops.concatenate(y_pred["rpn_logits"], axis=1), rows)
        deltas = take_rows_of_each(ops.concatenate(y_pred["rpn_deltas"], axis=1), rows)
        return (
            losses.objectness_loss(logits, labels),
            losses.box_regression_loss(deltas, targets, labels, settings.smooth_l1_beta),
        )

    def _samples(self, y_pred, truth):
        settings = self.settings
        boxes, scores = self._proposals(y_pred["rpn_logits"], y_pred["rpn_deltas"], training=True)
        return sample_proposals(
            boxes,
            scores > -math.inf,
            truth["boxes"],
            truth["labels"],
            truth.get("crowd"),
            threshold=settings.roi_threshold,
            crowd_threshold=settings.crowd_threshold,
            num_samples=settings.roi_samples,
            positive_fraction=settings.roi_positive_fraction,
            box_weights=settings.box_weights,
            seed=self.seeds,
        )

    def _head_losses(self, maps, samples, truth, training):
        """Losses of class, box and mask."""
        # One use of the maps for both heads. TensorFlow's graph optimizer sums three gradients or more in
        # variables, as large as the maps, whose memory is held between steps.
        maps = {level: ops.reshape(x, (-1, *x.shape[1:])) for level, x in maps.items()}
        count, labels = samples["boxes"].shape[1], samples["labels"]
        regions = self._regions(self.box_regions, maps, samples["boxes"], training)
        logits, deltas = self.box_head(regions, training=training)
        logits = ops.reshape(logits, (-1, count, self.num_classes + 1))
        deltas = ops.reshape(deltas, (-1, count, self.num_classes + 1, 4))
        own = take_rows_of_each(deltas, samples["classes"][..., None])[:, :, 0]

        # The positives are the first rows, and only they have a mask.
        most = max(1, int(self.settings.roi_samples * self.settings.roi_positive_fraction))
        rows = rows_in_use(ops.sum(ops.cast(labels == 1, "int32"), axis=1), most)
        first = {name: values[:, :rows] for name, values in samples.items()}
        masks = self._mask_logits(maps, first["boxes"], first["classes"], training)
        targets = mask_targets(
            truth["masks"], truth["boxes"], first["boxes"], first["matches"], self.mask_size, self.image_size
        )
        return (
            losses.classification_loss(logits, samples["classes"], labels),
            losses.box_regression_loss(own, samples["deltas"], labels, self.settings.smooth_l1_beta),
            losses.mask_loss(masks, targets, first["labels"]),
        )


def _one_class_of(mask_head):
    """A function (regions, classes, training) to the logits (B, m, n) of one class a region.

    A closure, not a layer of the model, which would save the head's weights a second time.
    """
    last = mask_head.layers[-1]
    if not ChannelOfConv2D.serves(last):
        raise bad_argument("mask_head", "a model that ends in a 1x1 convolution with a bias", last)
    features = keras.Model(mask_head.input, last.input)
    channel = ChannelOfConv2D(last)
    return lambda regions, classes, training: channel(features(regions, training=training), classes)


def _map_sizes(features):
    """(h, w) of each level's map, from the graph."""
    return {level: tuple(tensor.shape[1:3]) for level, tensor in features.output.items()}
