"""Encoders that give a feature pyramid: by name, or any keras.Model that has one."""

from keras_seg.backbones.select import names
from keras_seg.backbones.taps import pyramid

__all__ = ["names", "pyramid"]
