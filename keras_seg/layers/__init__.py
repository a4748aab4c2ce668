"""Keras layers: each is one block's contract, registered, and reloads from `.keras` without the builders."""

from keras_seg.layers.batch_normalization import BatchNormalization
from keras_seg.layers.bilinear_upsampling import BilinearKernel, BilinearUpsampling2D
from keras_seg.layers.color_affine import ColorAffine
from keras_seg.layers.crop_to_match import CropToMatch
from keras_seg.layers.feature_pyramid import FeaturePyramid
from keras_seg.layers.fully_connected import FullyConnectedConv2D, FullyConnectedConv2DTranspose
from keras_seg.layers.max_pooling_with_argmax import MaxPoolingWithArgmax2D
from keras_seg.layers.max_unpooling import MaxUnpooling2D
from keras_seg.layers.merge_scores import MeanOfProbabilities, ProductOfScores
from keras_seg.layers.pad_to_multiple import PadToMultiple
from keras_seg.layers.resize_to_match import ResizeToMatch
from keras_seg.layers.roi_layers import RoIAlign, RoIPool
from keras_seg.layers.size_check import SizeCheck
from keras_seg.layers.winograd_conv2d import WinogradConv2D

__all__ = [
    "BatchNormalization",
    "BilinearKernel",
    "BilinearUpsampling2D",
    "ColorAffine",
    "CropToMatch",
    "FeaturePyramid",
    "FullyConnectedConv2D",
    "FullyConnectedConv2DTranspose",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "MeanOfProbabilities",
    "PadToMultiple",
    "ProductOfScores",
    "ResizeToMatch",
    "RoIAlign",
    "RoIPool",
    "SizeCheck",
    "WinogradConv2D",
]
