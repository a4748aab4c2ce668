"""Keras layers: each is one block's contract, registered, and reloads from `.keras` without the builders."""

from keras_seg.layers.color_affine import ColorAffine
from keras_seg.layers.crop_to_match import CropToMatch
from keras_seg.layers.resize_to_match import ResizeToMatch
from keras_seg.layers.size_check import SizeCheck

__all__ = ["ColorAffine", "CropToMatch", "ResizeToMatch", "SizeCheck"]
