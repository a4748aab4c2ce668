"""Training runs: a folder that holds everything, checkpoints that survive a kill, pictures and curves."""

from keras_seg.training.optimizers import make_optimizer
from keras_seg.training.pictures import PredictionPictures
from keras_seg.training.progress import TrainingProgress
from keras_seg.training.recipes import RECIPES
from keras_seg.training.run_folder import RunFolder
from keras_seg.training.semantic import train_semantic
from keras_seg.training.staged import train_staged_fcn

__all__ = [
    "RECIPES",
    "PredictionPictures",
    "RunFolder",
    "TrainingProgress",
    "make_optimizer",
    "train_semantic",
    "train_staged_fcn",
]
