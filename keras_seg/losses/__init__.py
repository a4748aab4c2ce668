"""Losses on logits and integer class ids in which an ignored pixel counts nowhere."""

from keras_seg.losses.cross_entropy import CrossEntropy
from keras_seg.losses.cross_entropy_dice import CrossEntropyDice
from keras_seg.losses.focal import Focal
from keras_seg.losses.overlap import Dice

__all__ = ["CrossEntropy", "CrossEntropyDice", "Dice", "Focal"]
