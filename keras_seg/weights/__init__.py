"""Published weights in the networks of this package: checkpoints of torchvision, read without PyTorch."""

from keras_seg.weights.catalog import names
from keras_seg.weights.report import ImportReport
from keras_seg.weights.torchvision_import import from_torchvision, load_encoder

__all__ = ["ImportReport", "from_torchvision", "load_encoder", "names"]
