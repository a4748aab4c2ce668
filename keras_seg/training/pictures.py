"""Pictures during training: predictions beside the truth, as files and in TensorBoard."""

import keras
import numpy as np

from keras_seg.data.augmentation import Augmentation
from keras_seg.training.truth import whole_image_size
from keras_seg.viz import grid, save_png


class EpochPictures(keras.callbacks.Callback):
    """Base of pictures during training. Subclasses define `_picture`, a uint8 array (h, w, 3).

    Args:
        run: RunFolder.
        data: Source of the images. `count` of them, evenly spread, are shown, the same each time.
        every: int. Epochs between pictures; the last epoch always has one.
        count: int. Rows of the picture.
    """

    def __init__(self, run, data, every, count=4):
        super().__init__()
        self.run = run
        self.data = data
        self.every = every
        self.indices = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).astype(int))

    def on_train_begin(self, logs=None):
        # TensorFlow is there on every backend, for the data; TensorBoard's files are its own.
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(self.run.tensorboard / "pictures"))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        import tensorflow as tf

        picture = self._picture()
        save_png(self.run.pictures / f"epoch-{epoch + 1:04}.png", picture)
        with self._writer.as_default(step=epoch + 1):
            tf.summary.image("predictions", picture[None])

    def on_train_end(self, logs=None):
        self._writer.close()

    def _picture(self):
        raise NotImplementedError


class PredictionPictures(EpochPictures):
    """Write `pictures/epoch-NNNN.png` every few epochs: image, truth and prediction of a few held-out images.

    Args:
        run, data, every, count: as for `EpochPictures`.
    """

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._size = whole_image_size(self.model, self.data)

    def _picture(self):
        rows = []
        for index in self.indices:
            image, mask = self._fitted(*self.data.read(int(index)))
            logits = keras.ops.convert_to_numpy(self.model(image[None], training=False))[0]
            rows.append((image, _centre(mask, logits.shape), logits.argmax(-1)))
        images = [(_centre(image, truth.shape), truth, classes) for image, truth, classes in rows]
        return grid(images, self.data.class_names, self.data.colors, self.data.ignore_class)

    def _fitted(self, image, mask):
        """As validation shows them to the network: cropped or mirrored where it takes one size only."""
        if self._size is None:
            return image, mask
        fitted = Augmentation()(image, mask, seed=(0, 0), crop_size=self._size, random_crop=False)
        image, mask = (array.numpy() for array in fitted)
        return image, mask


def _centre(array, shape):
    """The middle of an image or mask, of the size of an unpadded network's output."""
    top, left = ((large - small) // 2 for large, small in zip(array.shape, shape[:2], strict=False))
    return array[top : top + shape[0], left : left + shape[1]]
