"""DeconvNet in two stages, an FCN beside it, and the two as one model that is exported.

pip install 'keras-seg[proposals]'
python examples/train_deconvnet.py                              # drawn shapes, a slim network
python examples/train_deconvnet.py --data voc:VOC2012,set=train --val voc:VOC2012,set=val --width 1
"""

import argparse

import keras

from keras_seg import deconvnet, fcn
from keras_seg.data import open_source
from keras_seg.export import export_model
from keras_seg.inference import ensemble, evaluate_semantic
from keras_seg.training import RunFolder, train_semantic, train_two_stage

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="shapes:count=100,size=256,num_classes=4,radius=0.03x0.25")
parser.add_argument("--val", default="shapes:count=10,size=256,num_classes=4,seed=1,radius=0.03x0.25")
parser.add_argument("--width", type=float, default=0.25, help="channels, as a part of the published ones")
parser.add_argument("--epochs", type=int, default=4, help="of each stage, and twice of FCN")
parser.add_argument("--steps-per-epoch", type=int, default=100)
parser.add_argument("--backbone", default="efficientnet_lite0", help="FCN's")
parser.add_argument("--out", default="runs/deconvnet")
arguments = parser.parse_args()

train, held_out = open_source(arguments.data), open_source(arguments.val)
keras.config.set_dtype_policy("mixed_bfloat16")
keras.utils.set_random_seed(0)
common = {"steps_per_epoch": arguments.steps_per_epoch, "augment": "light"}
config = {
    "class_names": train.class_names,
    "colors": train.colors.tolist(),
    "ignore_class": train.ignore_class,
}

run = RunFolder(f"{arguments.out}/deconvnet")
run.start(config)
network = deconvnet(train.num_classes, width=arguments.width)
network = train_two_stage(network, train, held_out, run, epochs=arguments.epochs, **common)

run = RunFolder(f"{arguments.out}/fcn")
run.start(config)
other = fcn(train.num_classes, backbone=arguments.backbone)
other = train_semantic(
    other, train, held_out, run, epochs=2 * arguments.epochs, crop_size=(224, 224), **common
)

both = ensemble([network, other])
for name, model, proposals in (
    ("DeconvNet on proposals", network, "selective_search"),
    ("FCN", other, None),
    ("ensemble, in tiles", both, None),
):
    score = evaluate_semantic(model, held_out, proposals=proposals)["mean_iou"]
    print(f"{name:24} mean IoU {score:.4f}")
print(export_model(both, f"{arguments.out}/served", class_names=train.class_names, colors=train.colors))
