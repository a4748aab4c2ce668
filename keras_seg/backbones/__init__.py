"""Encoders that give a feature pyramid: by name, or any keras.Model that has one."""

from keras_seg.backbones.alex_net import alexnet
from keras_seg.backbones.efficientnet_lite import efficientnet_lite0
from keras_seg.backbones.google_net import googlenet
from keras_seg.backbones.resnet import resnet18, resnet34, resnet50, resnet101
from keras_seg.backbones.select import names
from keras_seg.backbones.taps import pyramid
from keras_seg.backbones.vgg import vgg16, vgg16_bn

__all__ = [
    "alexnet",
    "efficientnet_lite0",
    "googlenet",
    "names",
    "pyramid",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "vgg16",
    "vgg16_bn",
]
