"""Data: from files or drawings to batches of images and masks. tf.data, NumPy and files; never Keras."""

from keras_seg.data.augmentation import Augmentation
from keras_seg.data.crop_sources import instance_crops, proposal_crops
from keras_seg.data.errors import DataError
from keras_seg.data.image_files import read_image
from keras_seg.data.instance_pipeline import load_instances
from keras_seg.data.letterbox import Letterbox
from keras_seg.data.object_augmentation import ObjectAugmentation
from keras_seg.data.object_report import check_objects, without_bad_objects
from keras_seg.data.objects import Objects
from keras_seg.data.pipeline import load, shapes
from keras_seg.data.proposal_files import read_proposals, write_proposals
from keras_seg.data.proposals import propose
from keras_seg.data.report import check
from keras_seg.data.source import Source
from keras_seg.data.specs import open_source
from keras_seg.data.weight_maps import border_weight_map

__all__ = [
    "Augmentation",
    "DataError",
    "Letterbox",
    "ObjectAugmentation",
    "Objects",
    "Source",
    "border_weight_map",
    "check",
    "check_objects",
    "instance_crops",
    "load",
    "load_instances",
    "open_source",
    "proposal_crops",
    "propose",
    "read_image",
    "read_proposals",
    "shapes",
    "without_bad_objects",
    "write_proposals",
]
