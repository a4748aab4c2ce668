"""`keras-seg train MODEL`: data in, a run folder out."""

import shlex
import sys

from keras_seg.cli.options import DATA_HELP, add_command, image_size
from keras_seg.version import __version__

_EXAMPLES = (
    "keras-seg train unet --data shapes:200 --val shapes:count=50,seed=1 --filters 16 --epochs 10",
    "keras-seg train unet --data folder:my/data --crop 256x256 --augment default --out runs/mine",
    "keras-seg train unet --data isbi:isbi2012#0:20 --val isbi:isbi2012#20:24 \\",
    "    --pixel-weights border --augment microscopy --crop 256x256 --precision mixed_bfloat16",
    "keras-seg train unet --data folder:my/data --backbone efficientnet_lite0 --weights imagenet \\",
    "    --depth 5 --filters 16 --normalization batch",
    "keras-seg train unet --resume --out runs/mine        # go on with a run that was stopped",
    "tensorboard --logdir runs                            # curves and pictures in a browser",
)


def add_parser(commands):
    parser = add_command(commands, "train", "train a network into a run folder", _EXAMPLES, run=None)
    models = parser.add_subparsers(dest="model", metavar="MODEL", required=True)
    unet = add_command(models, "unet", "train a U-Net", _EXAMPLES, _train_unet)
    _add_unet_options(unet)
    _add_training_options(unet)


def _add_unet_options(parser):
    group = parser.add_argument_group("network")
    group.add_argument("--filters", type=int, default=64, help="channels at full resolution")
    group.add_argument("--depth", type=int, default=4, help="how often the size is halved")
    group.add_argument("--padding", choices=("same", "valid"), default="same", help="valid is the paper's")
    group.add_argument(
        "--up", choices=("transpose", "bilinear"), default="transpose", help="how maps are doubled"
    )
    group.add_argument(
        "--normalization", choices=("batch", "group", "instance", "layer"), help="none if not given"
    )
    group.add_argument("--dropout", type=float, default=0.5, help="rate at the end of the contracting path")
    group.add_argument(
        "--backbone", help="encoder in place of the paper's, as efficientnet_lite0 or ResNet50"
    )
    group.add_argument("--weights", help='"imagenet" for the backbone, or a .keras or .weights.h5 file')


def _add_training_options(parser):
    from keras_seg.data.augmentation import PRESETS
    from keras_seg.training.optimizers import OPTIMIZERS, SCHEDULES
    from keras_seg.training.semantic import LOSSES

    group = parser.add_argument_group("data")
    group.add_argument("--data", help=DATA_HELP)
    group.add_argument("--val", help="held-out data, likewise; a share of --data if not given")
    group.add_argument("--val-fraction", type=float, default=0.2, help="that share")
    group.add_argument(
        "--crop", type=image_size, metavar="HxW", help="random crops; whole images if not given"
    )
    group.add_argument("--augment", choices=tuple(PRESETS), help="random changes of image and mask")
    group.add_argument(
        "--pixel-weights", choices=("border", "balance"), help="U-Net's border map; class balance"
    )

    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, default=50)
    group.add_argument("--steps-per-epoch", type=int, help="one pass over the data if not given")
    group.add_argument("--batch-size", type=int, default=8, help="images in a step")
    group.add_argument("--loss", choices=LOSSES, default="cross_entropy")
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw")
    group.add_argument("--learning-rate", type=float, default=1e-3, help="the peak")
    group.add_argument("--schedule", choices=SCHEDULES, default="cosine")
    group.add_argument("--warmup-steps", type=int, default=0)
    group.add_argument("--weight-decay", type=float, default=1e-4, help="of adamw")
    group.add_argument("--momentum", type=float, default=0.9, help="of sgd")
    group.add_argument("--clip-norm", type=float, help="largest norm of the gradient")
    group.add_argument("--monitor", default="val_mean_iou", help="what makes a model the best")
    group.add_argument("--patience", type=int, help="stop after so many epochs without a new best")
    group.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
        help="mixed_bfloat16 halves the time of a step on a CPU with AVX-512 BF16 or AMX",
    )
    group.add_argument("--jit", action="store_true", help="compile with XLA; for accelerators")
    group.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")

    group = parser.add_argument_group("run folder")
    group.add_argument("--out", default="runs/unet", help="run folder")
    group.add_argument("--resume", action="store_true", help="go on with the run in --out, with its options")
    group.add_argument(
        "--pictures-every", type=int, help="epochs between pictures; ten in a run if not given"
    )


def _train_unet(arguments):
    from keras_seg.training import RunFolder

    run = RunFolder(arguments.out)
    options = _options(arguments)
    if arguments.resume and run.config.is_file():
        options = run.read_config()["options"]
    elif arguments.data is None:
        raise ValueError("Give the training data: --data FORMAT:PATH, as in --data folder:my/data.")
    _train(run, options, arguments.resume)


def _options(arguments):
    """The options as plain values, without what belongs to this one call."""
    left_out = ("run", "command", "debug", "out", "resume")
    return {name: value for name, value in vars(arguments).items() if name not in left_out}


def _train(run, options, resume):
    import keras

    from keras_seg.data import open_source
    from keras_seg.models.unet import unet
    from keras_seg.training import train_semantic

    data = open_source(options["data"])
    if options["val"] is None:
        data, val = data.split(options["val_fraction"], options["seed"])
    else:
        val = open_source(options["val"])
    if val.num_classes != data.num_classes or val.channels != data.channels:
        raise ValueError(f"--data and --val differ: {data.describe()}; {val.describe()}.")
    print(f"training    {data.describe()}\nvalidation  {len(val)} images\nrun folder  {run.path}", flush=True)
    run.start(_config(options, data), resume)

    keras.config.set_dtype_policy(options["precision"])
    keras.utils.set_random_seed(options["seed"])
    network = ("filters", "depth", "padding", "up", "normalization", "dropout", "backbone", "weights")
    model = unet(data.num_classes, (None, None, data.channels), **{name: options[name] for name in network})
    training = (
        "epochs", "steps_per_epoch", "batch_size", "augment", "pixel_weights", "loss", "optimizer",
        "learning_rate", "schedule", "warmup_steps", "weight_decay", "momentum", "clip_norm", "monitor",
        "patience", "pictures_every", "seed",
    )  # fmt: skip
    train_semantic(
        model,
        data,
        val,
        run,
        crop_size=options["crop"],
        jit_compile=options["jit"],
        resume=resume,
        **{name: options[name] for name in training},
    )
    best = max(row.get(options["monitor"], float("nan")) for row in run.read_history())
    print(
        f"{options['monitor']} of the best epoch: {best:.4f}\n"
        f"model       {run.model}\ncurves      {run.curves}\npictures    {run.pictures}\n"
        f"next        keras-seg evaluate {run.path} --data {options['val'] or options['data']}\n"
        f"            keras-seg predict {run.path} IMAGES... --out predictions --overlay"
    )


def _config(options, data):
    import keras

    return {
        "command": shlex.join(["keras-seg", *sys.argv[1:]]),
        "version": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "options": options,
        "class_names": list(data.class_names),
        "colors": data.colors.tolist(),
        "ignore_class": data.ignore_class,
    }
