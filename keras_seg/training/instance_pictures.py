"""Pictures while a detector trains: what it finds beside the truth, as files and in TensorBoard."""

from keras_seg.inference import predict_instances
from keras_seg.training.pictures import EpochPictures
from keras_seg.viz import detection_grid


class InstancePictures(EpochPictures):
    """Write `pictures/epoch-NNNN.png` every few epochs: true and found objects of a few held-out images.

    Args:
        run, data, every, count: as for `EpochPictures`; the data have objects.
        min_score: float. Detections of lower scores are not drawn.
    """

    def __init__(self, run, data, every, count=4, min_score=0.5):
        super().__init__(run, data, every, count)
        self.min_score = min_score

    def _picture(self):
        items = [self.data.read_objects(int(index)) for index in self.indices]
        found = predict_instances(self.model, [image for image, _ in items])
        rows = [(*item, detections) for item, detections in zip(items, found, strict=True)]
        return detection_grid(rows, self.data.object_names, self.min_score)
