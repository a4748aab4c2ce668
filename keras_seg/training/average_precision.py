"""COCO's average precision during training, in the logs beside the losses."""

import keras
import numpy as np

from keras_seg.data import open_source
from keras_seg.inference import evaluate_instances
from keras_seg.utils.optional import import_optional
from keras_seg.utils.validation import check_integer

LOGGED = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")


class AveragePrecision(keras.callbacks.Callback):
    """Score the model on held-out images at the end of an epoch, whole images at their full size.

    Writes "val_box_ap", "val_box_ap50", "val_mask_ap" and "val_mask_ap50" into the epoch's logs. Put it
    before the callbacks that read them, such as TensorBoard and what keeps the best model. In epochs without
    a scoring the logs have the last one's values, so that such callbacks find them in every epoch; before
    the first they are 0.

    Args:
        data: Source or spec of the held-out images.
        every: int, default 1. Epochs between scorings; the last epoch always has one.
        limit: int or None. Score so many images, evenly spread and the same each time; None for all.
        batch_size: int, default 1. Images at once.
        max_detections: int, default 100. Detections counted an image.

    Example:

        >>> model.fit(train, epochs=20, callbacks=[AveragePrecision("coco:val.json,images", limit=500)])
    """

    def __init__(self, data, every=1, limit=None, batch_size=1, max_detections=100):
        super().__init__()
        # Before an epoch is trained in vain.
        import_optional("pycocotools", "COCO's average precision", "coco")
        data = open_source(data)
        if limit is not None and check_integer("limit", limit) < len(data):
            data = data.subset(np.linspace(0, len(data) - 1, limit).astype(int))
        self.data = data
        self.every = check_integer("every", every)
        self.batch_size = check_integer("batch_size", batch_size)
        self.max_detections = check_integer("max_detections", max_detections)
        self._last = {f"val_{name}": 0.0 for name in LOGGED}

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            scores = evaluate_instances(
                self.model,
                self.data,
                batch_size=self.batch_size,
                max_detections=self.max_detections,
                progress=False,
            )
            self._last = {f"val_{name}": scores[name] for name in LOGGED}
        if logs is not None:
            logs.update(self._last)
