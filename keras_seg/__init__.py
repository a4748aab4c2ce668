"""Segmentation for Keras 3: FCN, DeconvNet, U-Net and Mask R-CNN on TensorFlow, JAX and PyTorch.

`from keras_seg import unet` gives a builder. Importing the package loads Keras and registers its layers,
losses and metrics, so that `.keras` files load; the other subpackages load when they are first used.
"""

import importlib

from keras_seg import layers, losses, metrics
from keras_seg.models.deconvnet import deconvnet
from keras_seg.models.fcn import fcn
from keras_seg.models.mask_rcnn import mask_rcnn
from keras_seg.models.unet import unet
from keras_seg.version import __version__

__all__ = ["__version__", "deconvnet", "fcn", "layers", "losses", "mask_rcnn", "metrics", "unet"]

_LOADED_ON_USE = ("backbones", "data", "export", "inference", "ops", "training", "viz", "weights")


def __getattr__(name):
    if name in _LOADED_ON_USE:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted((*__all__, *_LOADED_ON_USE))
