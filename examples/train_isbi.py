"""Neuronal membranes of ISBI 2012: train on 20 slices, score the others as the challenge does.

python examples/train_isbi.py FOLDER        # images/ and masks/, or the challenge's TIFF stacks
"""

import argparse

import keras

from keras_seg import unet
from keras_seg.data import open_source
from keras_seg.inference import evaluate_semantic
from keras_seg.training import RunFolder, train_semantic

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--steps-per-epoch", type=int, default=100)
parser.add_argument("--filters", type=int, default=32)
parser.add_argument("--out", default="runs/isbi")
arguments = parser.parse_args()

slices = open_source(f"isbi:{arguments.folder}")
train, held_out = slices[:20], slices[20:]
keras.config.set_dtype_policy("mixed_bfloat16")
keras.utils.set_random_seed(0)
model = unet(2, (None, None, 1), filters=arguments.filters, normalization="batch")
run = RunFolder(arguments.out)
run.start({"class_names": slices.class_names, "colors": slices.colors.tolist(), "ignore_class": None})
model = train_semantic(
    model,
    train,
    held_out,
    run,
    epochs=arguments.epochs,
    steps_per_epoch=arguments.steps_per_epoch,
    batch_size=4,
    crop_size=(256, 256),
    augment="microscopy",
)
# The mean over flips and turns is the paper's, which averages seven rotations.
for name, score in evaluate_semantic(model, held_out, augment="all").items():
    print(f"{name:28} {score:.4f}")
