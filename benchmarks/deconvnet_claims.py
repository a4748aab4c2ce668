"""The claims of DeconvNet's paper, measured: two stages against one, against FCN, and both networks together.

    python -m benchmarks.deconvnet_claims --out runs/claims
    python -m benchmarks.deconvnet_claims --data camvid:data/train --val camvid:data/val --out runs/camvid_dn
    python -m benchmarks.deconvnet_claims --data nuclei:nuclei,border=0 --holdout 60 --out runs/nuclei_dn

Three networks take equally many steps of equally many pixels: DeconvNet on objects, then on proposals;
DeconvNet on proposals alone; and an FCN-8s with DeconvNet's encoder on random windows of the same size.
DeconvNet is then run on object proposals, FCN on whole images, and their probabilities are averaged. Scores
are the mean IoU, and the mean over objects of the IoU inside 1.5 times their box, by the objects' size. A run
that was stopped goes on where it was when the same command is given again.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_seg import deconvnet, fcn
from keras_seg.backbones import vgg
from keras_seg.backbones.explicit_padding import batch_norm, conv
from keras_seg.data import open_source, propose, read_proposals, write_proposals
from keras_seg.data.box_crops import enlarged
from keras_seg.data.crop_sources import objects
from keras_seg.data.instance_classes import instance_classes
from keras_seg.data.proposals import instance_boxes
from keras_seg.inference import FrozenModel, predict_probabilities
from keras_seg.metrics import scores_from_matrix
from keras_seg.training import RunFolder, train_semantic, train_two_stage
from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.progress import track
from keras_seg.viz import grid, save_png

CROP = 224
SHAPES = "shapes:count={},size=256,num_classes=4,seed={},radius=0.025x0.25"


def main():
    arguments = _parse()
    keras.config.set_dtype_policy(arguments.precision)
    data, val = _data(arguments)
    train, check = data.split(arguments.check_fraction, seed=0)
    boxes = _proposals({source.name + str(i): source for i, source in enumerate((data, val))}, arguments)
    networks = _train(train, check, boxes, arguments)
    print(f"objects are small below a side of {arguments.small} pixels, the root of their area", flush=True)
    scores = _score(networks, val, boxes, arguments)
    with atomic_file(Path(arguments.out) / "scores.json") as temporary:
        temporary.write_text(json.dumps(scores, indent=2) + "\n")


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=SHAPES.format(200, 0), help="training images, FORMAT:PATH")
    parser.add_argument("--val", help="held-out images; of drawn shapes if neither is given")
    parser.add_argument("--holdout", type=int, default=40, help="held-out images, where --val is not given")
    parser.add_argument("--check-fraction", type=float, default=0.05, help="of --data, to choose an epoch by")
    parser.add_argument("--width", type=float, default=0.25, help="of DeconvNet and of FCN's encoder")
    parser.add_argument("--steps", type=int, default=800, help="of each network, in all")
    parser.add_argument("--epochs", type=int, default=4, help="of each network, in all; an even number")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-2, help="the peak, of DeconvNet")
    parser.add_argument("--fcn-learning-rate", type=float, default=1e-3, help="the peak, of FCN")
    parser.add_argument("--count", type=int, default=100, help="proposals of an image")
    parser.add_argument("--min-side", type=float, default=12, help="of a proposal, pixels")
    parser.add_argument("--aggregate", default="max", choices=("max", "mean"), help="of proposals")
    parser.add_argument("--small", type=float, default=24, help="side of a small object, pixels")
    parser.add_argument("--precision", default="mixed_bfloat16", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=4, help="rows of the picture")
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def _data(arguments):
    data = open_source(arguments.data)
    if arguments.val:
        return data, open_source(arguments.val)
    if data.name == "shapes":
        return data, open_source(SHAPES.format(arguments.holdout, 1))
    return data.split(arguments.holdout / len(data), seed=0)


def _proposals(sources, arguments):
    """Boxes of every image, by source; kept in the run's folder for the next call."""
    found = {}
    for name, source in sources.items():
        file = Path(arguments.out) / f"proposals_{name}.npz"
        if not file.is_file():
            images = track(range(len(source)), "proposals")
            boxes = {
                source.ids[i]: propose(source.read(i)[0], count=arguments.count, min_side=arguments.min_side)
                for i in images
            }
            write_proposals(file, boxes)
        found[name] = read_proposals(file)
    return list(found.values())


def _train(train, check, boxes, arguments):
    """dict of name to trained network."""
    half, steps = arguments.epochs // 2, arguments.steps // arguments.epochs
    common = {
        "steps_per_epoch": steps,
        "batch_size": arguments.batch_size,
        "crop_size": (CROP, CROP),
        "augment": "light",
        "warmup_steps": steps // 4,
        "seed": arguments.seed,
    }
    networks = {}
    for name, epochs in (
        ("two stages", (half, half)),
        ("proposals alone", (0, 2 * half)),
        ("FCN-8s", 2 * half),
    ):
        keras.utils.set_random_seed(arguments.seed)
        run = RunFolder(Path(arguments.out) / name.replace(" ", "_"))
        done = run.path / "done"
        if not done.is_file():
            run.start({"arguments": vars(arguments), "class_names": train.class_names}, resume=True)
            if name == "FCN-8s":
                model = small_fcn(train, arguments.width)
                rate = arguments.fcn_learning_rate
                train_semantic(
                    model, train, check, run, epochs=epochs, learning_rate=rate, resume=True, **common
                )
            else:
                model = deconvnet(train.num_classes, (CROP, CROP, train.channels), width=arguments.width)
                train_two_stage(
                    model,
                    train,
                    check,
                    run,
                    epochs=epochs,
                    proposals=boxes[0],
                    learning_rate=arguments.learning_rate,
                    resume=True,
                    **common,
                )
            done.touch()
        networks[name] = keras.saving.load_model(run.model, compile=False)
    return networks


def small_fcn(data, width):
    """An FCN-8s on the encoder that DeconvNet has: VGG16 with batch normalization, fc6 and fc7 included."""
    images = keras.Input((None, None, data.channels))
    maps = {}

    def pool(x, block):
        maps[f"P{block}"] = layers.MaxPooling2D(2, name=f"pool{block}")(x)
        return maps[f"P{block}"]

    x = vgg.features(images, normalize=True, width=width, pool=pool)
    for name, size in (("fc6", 7), ("fc7", 1)):
        x = conv(x, vgg.scaled(4096, width), size, name, pad=size // 2)
        x = layers.ReLU(name=f"relu_{name}")(batch_norm(x, f"bn_{name}", 1e-5, 0.0))
    encoder = keras.Model(images, {**maps, "P5": x}, name="encoder")
    return fcn(data.num_classes, (None, None, data.channels), backbone=encoder)


def _score(networks, val, boxes, arguments):
    """Print and return the scores of each network and of the ensemble; draw the first images."""
    names = [*networks, "ensemble", "class 0 alone"]
    networks = {name: FrozenModel(network) for name, network in networks.items()}
    matrices = {name: np.zeros((val.num_classes,) * 2, "int64") for name in names}
    overlaps = {name: [] for name in names}
    rows = []
    for index in track(range(len(val)), "scoring"):
        image, truth = val.read(index)
        answers = {}
        for name, network in networks.items():
            found = None if name == "FCN-8s" else [boxes[1][val.ids[index]]]
            answers[name] = predict_probabilities(
                network, [image], proposals=found, aggregate=arguments.aggregate, batch_size=10
            )[0]
        answers["ensemble"] = (answers["two stages"] + answers["FCN-8s"]) / 2
        classes = {name: answer.argmax(axis=-1) for name, answer in answers.items()}
        classes["class 0 alone"] = np.zeros_like(classes["FCN-8s"])
        counted = truth < val.num_classes
        for name in names:
            np.add.at(matrices[name], (truth[counted], classes[name][counted]), 1)
            overlaps[name] += object_overlaps(val, index, truth, classes[name])
        if len(rows) < arguments.pictures:
            rows.append((image, truth, *(classes[name] for name in ("FCN-8s", "two stages", "ensemble"))))
    titles = ("image", "truth", "FCN-8s", "DeconvNet", "ensemble")
    picture = grid(rows, val.class_names, val.colors, val.ignore_class, titles)
    save_png(Path(arguments.out) / "side_by_side.png", picture)
    return {name: _summary(name, matrices[name], overlaps[name], val, arguments.small) for name in names}


def object_overlaps(source, index, truth, predicted):
    """(side, IoU) of each object, the side being the root of its area.

    Within 1.5 times the object's box and outside other objects and ignored pixels, the pixels predicted as
    the object's class are compared with the object's.
    """
    instances = objects(source, index, truth)
    class_of = instance_classes(truth, instances, source.ignore_class)
    found = []
    for number, box in zip(*instance_boxes(instances), strict=True):
        if not class_of.get(int(number), 0):
            continue
        left, top, right, bottom = enlarged(box, 1.5).round().astype(int)
        window = np.s_[max(top, 0) : bottom, max(left, 0) : right]
        own = instances[window] == number
        counted = own | ((instances[window] == 0) & (truth[window] < source.num_classes))
        hit = (predicted[window] == class_of[int(number)]) & counted
        found.append((float(own.sum()) ** 0.5, float((hit & own).sum() / (hit | own).sum())))
    return found


def _summary(name, matrix, overlaps, val, small):
    sides, ious = np.array(overlaps).T
    summary = {"mean_iou": scores_from_matrix(matrix, val.class_names)["mean_iou"]}
    for label, chosen in (("small", sides < small), ("large", sides >= small)):
        summary |= {f"objects/{label}": int(chosen.sum()), f"iou/{label}": float(ious[chosen].mean())}
    print(
        f"{name:16} mean IoU {summary['mean_iou']:.4f}   objects: small {summary['iou/small']:.4f} "
        f"({summary['objects/small']})   large {summary['iou/large']:.4f} ({summary['objects/large']})",
        flush=True,
    )
    return summary


if __name__ == "__main__":
    main()
