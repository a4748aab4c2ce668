"""Mask R-CNN on the nuclei of the Data Science Bowl 2018, from random weights, on a CPU.

    python examples/train_nuclei.py data/nuclei --out runs/nuclei

The network sees crops of 256 x 256 from images that are enlarged to 512 pixels, more or less, and answers for
whole images at 512 x 512. A run that was stopped goes on when the same command is given again.
"""

import argparse
import dataclasses
from pathlib import Path

import keras

from keras_seg import mask_rcnn
from keras_seg.data import load_instances, open_source
from keras_seg.data.object_augmentation import PRESETS
from keras_seg.inference import evaluate_instances

HELD_OUT = 0.15


def build(side):
    """A small Mask R-CNN for objects of 6 to 200 pixels; its weights fit any side."""
    return mask_rcnn(
        1,
        (side, side, 3),
        backbone="resnet18_fpn",
        pyramid_filters=128,
        head_units=256,
        mask_filters=64,
        anchor_sizes=(12, 24, 48, 96, 192),
        canonical_size=112,
        roi_samples=128,
        pre_nms=(600, 1000),
        max_proposals=(500, 600),
        max_detections=300,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="folder with images/ and instances/")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--steps-per-epoch", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--out", default="runs/nuclei")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    train, held_out = open_source(f"nuclei:{arguments.data}").split(HELD_OUT, seed=0)
    # A factor of 2 shows an image at 512 pixels through a window of 256.
    augment = dataclasses.replace(PRESETS["microscopy"], scale=(1.4, 2.8))
    crops = load_instances(
        train, image_size=256, batch_size=arguments.batch_size, augment=augment, shuffle=True, repeat=True,
        mask_size=28,
    )  # fmt: skip

    model = build(256)
    steps = arguments.epochs * arguments.steps_per_epoch
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - 200, warmup_target=1e-3, warmup_steps=200)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=10.0), jit_compile=False)
    model.fit(
        crops,
        epochs=arguments.epochs,
        steps_per_epoch=arguments.steps_per_epoch,
        shuffle=False,  # the pipeline does it
        verbose=2,
        callbacks=[
            keras.callbacks.CSVLogger(out / "history.csv", append=True),
            keras.callbacks.BackupAndRestore(out / "backup", delete_checkpoint=False),
        ],
    )

    whole = build(512)
    whole.set_weights(model.get_weights())
    whole.save(out / "model.keras")
    for name, value in evaluate_instances(whole, held_out, batch_size=4, max_detections=300).items():
        print(f"{name:32} {value:.4f}")


if __name__ == "__main__":
    main()
