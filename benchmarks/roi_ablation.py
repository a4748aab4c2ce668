"""The ablation of Mask R-CNN's paper, small: RoIAlign against RoIPool, the rest the same.

    python -m benchmarks.roi_ablation --out ablation.json
    python -m benchmarks.roi_ablation --backbone resnet18_c4 --bfloat16

Mask R-CNN is trained from random weights on drawn shapes, for each seed once with either layer: the same
weights at the start, the same images in the same order, the same number of steps. The masks' and boxes'
average precision on held-out shapes is printed, and the gap with its spread over the seeds. The paper
(table 2c, ResNet50 on C4, stride 16) has mask AP 26.9 with RoIPool and 30.3 with RoIAlign, table 2d (stride
32) 23.6 and 30.9.
"""

import argparse
import statistics

import keras

from benchmarks.timing import write_results
from keras_seg import mask_rcnn
from keras_seg.data import load_instances, open_source
from keras_seg.inference import evaluate_instances

SIDE = 128
TRAIN, HELD_OUT = f"shapes:count=400,size={SIDE},seed=0", f"shapes:count=100,size={SIDE},seed=1"
SCORES = ("mask_ap", "mask_ap50", "mask_ap75", "box_ap", "box_ap75")


def main():
    arguments = _parse()
    keras.config.set_dtype_policy("mixed_bfloat16" if arguments.bfloat16 else "float32")
    rows = []
    for seed in arguments.seeds:
        for layer in ("pool", "align"):
            scores = _trained_scores(layer, seed, arguments)
            rows.append({"layer": layer, "seed": seed, "steps": arguments.steps, **scores})
            listed = "  ".join(f"{name} {scores[name]:.4f}" for name in SCORES)
            print(f"{arguments.backbone}  RoI{layer.title():6} seed {seed}  {listed}", flush=True)
    for name in SCORES:
        gaps = _gaps(rows, name)
        spread = f" +- {statistics.stdev(gaps):.4f}" if len(gaps) > 1 else ""
        print(f"{name:10} RoIAlign over RoIPool {statistics.mean(gaps):+.4f}{spread}, {len(gaps)} seeds")
    if arguments.out:
        write_results(arguments.out, rows)
        print(f"written to {arguments.out}")


def _gaps(rows, name):
    """The gain by RoIAlign for each seed."""
    scores = {(row["layer"], row["seed"]): row[name] for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    return [scores["align", seed] - scores["pool", seed] for seed in seeds]


def _trained_scores(layer, seed, arguments):
    keras.utils.set_random_seed(seed)
    train, held_out = open_source(TRAIN), open_source(HELD_OUT)
    model = mask_rcnn(
        len(train.object_names),
        (SIDE, SIDE, 3),
        backbone=arguments.backbone,
        pyramid_filters=64,
        head_units=128,
        mask_filters=64,
        anchor_sizes=(8, 16, 32, 64, 96),
        canonical_size=SIDE,
        roi_layer=layer,
        roi_samples=32,
        pre_nms=(300, 300),
        max_proposals=(200, 100),
        max_detections=30,
        seed=seed,
    )
    batches = load_instances(
        train, image_size=SIDE, batch_size=8, augment="light", shuffle=True, repeat=True, seed=seed,
        mask_size=28, max_objects=20,
    )  # fmt: skip
    warmup = arguments.steps // 10
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, arguments.steps - warmup, warmup_target=1e-3, warmup_steps=warmup
    )
    model.compile(keras.optimizers.AdamW(rate, global_clipnorm=10.0))
    model.fit(batches, steps_per_epoch=arguments.steps, verbose=0, shuffle=False)
    scores = evaluate_instances(model, held_out, batch_size=10, max_detections=30, progress=False)
    return {name: scores[name] for name in SCORES}


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet18_fpn")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=400, help="of 8 images")
    parser.add_argument("--bfloat16", action="store_true", help="mixed_bfloat16")
    parser.add_argument("--out", metavar="FILE", help="scores as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
