"""What is done with a trained network: images of any size in, probabilities, classes and instances out."""

from keras_seg.inference.augmentation import test_time_augmentation
from keras_seg.inference.coco_format import coco_results, write_coco_results
from keras_seg.inference.crf import dense_crf
from keras_seg.inference.detection_evaluation import evaluate_instances
from keras_seg.inference.detections import Detections, predict_instances
from keras_seg.inference.detector import is_detector
from keras_seg.inference.evaluation import evaluate_semantic
from keras_seg.inference.frozen_model import FrozenModel
from keras_seg.inference.instances import instances_from_semantic
from keras_seg.inference.mask_pasting import paste_masks
from keras_seg.inference.merged_models import ensemble
from keras_seg.inference.predictor import predict_classes, predict_probabilities
from keras_seg.inference.proposals import predict_proposals
from keras_seg.inference.region_proposals import RegionProposals
from keras_seg.inference.tiling import predict_tiled

__all__ = [
    "RegionProposals",
    "Detections",
    "FrozenModel",
    "coco_results",
    "dense_crf",
    "ensemble",
    "evaluate_instances",
    "evaluate_semantic",
    "instances_from_semantic",
    "is_detector",
    "paste_masks",
    "predict_classes",
    "predict_instances",
    "predict_probabilities",
    "predict_proposals",
    "predict_tiled",
    "test_time_augmentation",
    "write_coco_results",
]
