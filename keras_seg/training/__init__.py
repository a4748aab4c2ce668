"""Training runs: a folder that holds everything, checkpoints that survive a kill, pictures and curves."""

from keras_seg.training.average_precision import AveragePrecision
from keras_seg.training.batch_statistics import reestimate_batch_norm
from keras_seg.training.instance_pictures import InstancePictures
from keras_seg.training.instances import train_instances
from keras_seg.training.optimizers import make_optimizer
from keras_seg.training.pictures import PredictionPictures
from keras_seg.training.progress import TrainingProgress
from keras_seg.training.recipes import RECIPES
from keras_seg.training.run_folder import RunFolder
from keras_seg.training.semantic import train_semantic
from keras_seg.training.staged import train_staged_fcn
from keras_seg.training.time_budget import TimeBudget
from keras_seg.training.two_stage import train_two_stage

__all__ = [
    "RECIPES",
    "AveragePrecision",
    "InstancePictures",
    "PredictionPictures",
    "RunFolder",
    "TimeBudget",
    "TrainingProgress",
    "make_optimizer",
    "reestimate_batch_norm",
    "train_instances",
    "train_semantic",
    "train_staged_fcn",
    "train_two_stage",
]
