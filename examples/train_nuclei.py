"""Mask R-CNN on the nuclei of the Data Science Bowl 2018, from random weights, on a CPU or a GPU.

    python examples/train_nuclei.py data/nuclei --out runs/nuclei
    python examples/train_nuclei.py data/nuclei --out runs/nuclei2 --weights runs/nuclei/model.keras \
        --native --scale 1 2.4 --learning-rate 5e-4 --epochs 10
    KERAS_BACKEND=jax python examples/train_nuclei.py data/nuclei --out runs/nuclei_gpu \
        --network standard --batch-size 16 --native --scale 1.2 2.4 --light-copies 2 --minutes 5

The network sees crops of 256 x 256 and answers for images at 512 x 512. At first images are enlarged to 512
pixels, more or less; with --native each has its own pixels, enlarged by --scale, so that nuclei are as large
as they will be where `min_scale` shows large images in windows. One image of five is of stained tissue on a
light ground, which is harder than fluorescence: --light-copies 3 shows those three times as often. A run that
was stopped goes on when the same command is given again; one of --minutes begins anew.
"""

import argparse
import dataclasses
from pathlib import Path

import keras
import numpy as np

from keras_seg import mask_rcnn
from keras_seg.data import load_instances, open_source
from keras_seg.data.object_augmentation import PRESETS
from keras_seg.inference import evaluate_instances
from keras_seg.training import TimeBudget

HELD_OUT = 0.15
LIGHT = 100  # grey level of 255: the median of an image with a light ground is above it


# What two cores train in hours, and the paper's ResNet50 with its pyramid and heads.
NETWORKS = {
    "small": {"backbone": "resnet18_fpn", "pyramid_filters": 128, "head_units": 256, "mask_filters": 64},
    "standard": {"backbone": "resnet50_fpn"},
}


def build(side, network):
    """A Mask R-CNN for objects of 6 to 200 pixels; its weights fit any side."""
    return mask_rcnn(
        1,
        (side, side, 3),
        **NETWORKS[network],
        anchor_sizes=(12, 24, 48, 96, 192),
        canonical_size=112,
        roi_samples=128,
        pre_nms=(600, 1000),
        max_proposals=(500, 600),
        max_detections=300,
    )


def repeat_light(source, copies):
    """The data with `copies` of each image on a light ground."""
    if copies == 1:
        return source
    light = [i for i in range(len(source)) if np.median(source.read_objects(i)[0]) >= LIGHT]
    return source.subset([*range(len(source)), *light * (copies - 1)])


def main():
    arguments = parse()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    train, held_out = open_source(f"nuclei:{arguments.data}").split(HELD_OUT, seed=0)
    augment = dataclasses.replace(
        PRESETS["microscopy"], scale=tuple(arguments.scale), fit=not arguments.native
    )
    crops = load_instances(
        repeat_light(train, arguments.light_copies), image_size=256, batch_size=arguments.batch_size,
        augment=augment, shuffle=True, repeat=True, mask_size=28, seed=arguments.seed,
    )  # fmt: skip

    model, whole = build(256, arguments.network), build(512, arguments.network)
    if arguments.weights:
        whole.load_weights(arguments.weights)
        model.set_weights(whole.get_weights())
    rate = arguments.learning_rate
    if arguments.minutes:
        schedule = [TimeBudget(arguments.minutes)]
    else:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            arguments.epochs * arguments.steps_per_epoch - arguments.warmup_steps,
            warmup_target=rate,
            warmup_steps=arguments.warmup_steps,
        )
        schedule = [keras.callbacks.BackupAndRestore(out / "backup", delete_checkpoint=False)]
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=10.0))
    model.fit(
        crops,
        epochs=10**6 if arguments.minutes else arguments.epochs,
        steps_per_epoch=arguments.steps_per_epoch,
        shuffle=False,  # the pipeline does it
        verbose=2,
        callbacks=[keras.callbacks.CSVLogger(out / "history.csv", append=not arguments.minutes), *schedule],
    )

    whole.set_weights(model.get_weights())
    whole.save(out / "model.keras")
    scores = evaluate_instances(
        whole, held_out, batch_size=4, max_detections=300, min_scale=arguments.min_scale
    )
    for name, value in scores.items():
        print(f"{name:32} {value:.4f}")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="folder with images/ and instances/")
    parser.add_argument("--network", choices=tuple(NETWORKS), default="small")
    parser.add_argument(
        "--minutes", type=float, help="train for so long, the first epoch excepted, not for --epochs"
    )
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--steps-per-epoch", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the peak")
    parser.add_argument("--warmup-steps", type=int, default=200)
    # A factor of 2 shows an image at 512 pixels through a window of 256.
    parser.add_argument("--scale", type=float, nargs=2, default=(1.4, 2.8), metavar=("LOW", "HIGH"))
    parser.add_argument("--native", action="store_true", help="--scale is of the image's own pixels")
    parser.add_argument("--light-copies", type=int, default=1, help="how often light images count")
    parser.add_argument("--min-scale", type=float, default=2.0, help="least scale of whole images, to score")
    parser.add_argument("--weights", help="a model.keras of this script to start from")
    parser.add_argument("--seed", type=int, default=0, help="of the crops")
    parser.add_argument("--out", default="runs/nuclei")
    return parser.parse_args()


if __name__ == "__main__":
    main()
