"""`keras-seg train MODEL`: data in, a run folder out."""

import argparse
import shlex
import sys

from keras_seg.cli.detector_network import MASK_RCNN
from keras_seg.cli.networks import NETWORKS as SEMANTIC_NETWORKS
from keras_seg.cli.options import DATA_HELP, add_command, image_size, refuse_options
from keras_seg.version import __version__

NETWORKS = (*SEMANTIC_NETWORKS, MASK_RCNN)
# Without a default: they mean something in a training of several stages only.
_OF_STAGES = ("stage_epochs", "stage_rates", "proposals", "val_proposals", "statistics_steps")
# What suits a detector from random weights, on small batches.
_DETECTOR_DEFAULTS = {
    "batch_size": 2,
    "augment": "default",
    "warmup_steps": None,
    "clip_norm": 10.0,
    "monitor": "val_mask_ap",
}


def add_parser(commands):
    examples = [example for network in NETWORKS for example in network.examples[:2]]
    parser = add_command(commands, "train", "train a network into a run folder", examples, run=None)
    models = parser.add_subparsers(dest="model", metavar="MODEL", required=True)
    for network in NETWORKS:
        subparser = add_command(models, network.name, network.summary, network.examples, _run)
        network.add_options(subparser.add_argument_group("network"))
        data = subparser.add_argument_group("data")
        training = subparser.add_argument_group("training")
        _add_common_options(data, training)
        subparser.set_defaults(network=network, out=f"runs/{network.name}")
        if network.finds_objects:
            _add_object_options(data, training)
            subparser.set_defaults(**_DETECTOR_DEFAULTS)
        else:
            _add_mask_options(data, training)
            subparser.set_defaults(crop=network.crop, learning_rate=network.learning_rate)
        _add_run_options(subparser.add_argument_group("run folder"))


def _add_mask_options(data, training):
    from keras_seg.data.augmentation import PRESETS
    from keras_seg.training.semantic import LOSSES

    data.add_argument(
        "--crop", type=image_size, metavar="HxW", help="random crops; whole images if not given"
    )
    data.add_argument("--augment", choices=tuple(PRESETS), help="random changes of image and mask")
    data.add_argument(
        "--pixel-weights", choices=("border", "balance"), help="U-Net's border map; class balance"
    )
    training.add_argument("--loss", choices=LOSSES, default="cross_entropy")


def _add_object_options(data, training):
    from keras_seg.data.object_augmentation import PRESETS

    data.add_argument(
        "--augment", choices=("none", *PRESETS), help="random changes of image and objects together"
    )
    data.add_argument("--max-objects", type=int, default=100, help="objects of an image in one step")
    data.add_argument(
        "--bad",
        choices=("refuse", "skip"),
        default="refuse",
        help="images and annotations that cannot be used: stop, or leave them out",
    )
    training.add_argument("--score-every", type=int, default=1, help="epochs between scorings by AP")
    training.add_argument("--score-limit", type=int, help="score so many held-out images; all if not given")


def _add_common_options(data, group):
    from keras_seg.training.optimizers import OPTIMIZERS, SCHEDULES

    data.add_argument("--data", help=DATA_HELP)
    data.add_argument("--val", help="held-out data, likewise; a share of --data if not given")
    data.add_argument("--val-fraction", type=float, default=0.2, help="that share")
    group.add_argument("--epochs", type=int, default=50)
    group.add_argument("--steps-per-epoch", type=int, help="one pass over the data if not given")
    group.add_argument("--batch-size", type=int, default=8, help="images in a step")
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw")
    group.add_argument("--learning-rate", type=float, default=1e-3, help="the peak")
    group.add_argument("--schedule", choices=SCHEDULES, default="cosine")
    group.add_argument("--warmup-steps", type=int, default=0)
    group.add_argument("--weight-decay", type=float, default=1e-4, help="of adamw and sgd")
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
    group.add_argument(
        "--jit",
        action=argparse.BooleanOptionalAction,
        default="auto",
        help="compile with XLA, or not; if not said, on JAX and where TensorFlow has an accelerator",
    )
    group.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")


def _add_run_options(group):
    group.add_argument("--out", help="run folder")
    group.add_argument("--resume", action="store_true", help="go on with the run in --out, with its options")
    group.add_argument(
        "--pictures-every", type=int, help="epochs between pictures; ten in a run if not given"
    )


def _run(arguments):
    from keras_seg.training import RunFolder

    _refuse(arguments)
    run = RunFolder(arguments.out)
    options = _options(arguments)
    if arguments.resume and run.config.is_file():
        options = run.read_config()["options"]
    elif arguments.data is None:
        raise ValueError("Give the training data: --data FORMAT:PATH, as in --data folder:my/data.")
    _train(arguments.network, run, options, arguments.resume)


def _refuse(arguments):
    """Raise for options that another one leaves without a meaning."""
    if not (getattr(arguments, "staged", False) or getattr(arguments, "two_stage", False)):
        refuse_options(arguments, [n for n in _OF_STAGES if hasattr(arguments, n)], "a training in one stage")
    if getattr(arguments, "staged", False):
        refuse_options(arguments, ("variant",), "--staged, which trains 32s, 16s and 8s")
        refuse_options(arguments, ("at_once",), "--staged: it is the way to train 8s without stages")
    if getattr(arguments, "recipe", None):
        refuse_options(arguments, ("stage_rates",), "--recipe, which has rates of its own")


def _options(arguments):
    """The options as plain values, without what belongs to this one call."""
    left_out = ("run", "command", "debug", "network", "out", "resume")
    return {name: value for name, value in vars(arguments).items() if name not in left_out}


def _train(network, run, options, resume):
    import keras

    from keras_seg.training.run_callbacks import mode_of

    data, val = _open_data(options, network.finds_objects)
    print(f"training    {data.describe()}\nvalidation  {len(val)} images\nrun folder  {run.path}", flush=True)
    is_new = not run.config.exists()
    run.start(_config(options, data), resume)
    keras.config.set_dtype_policy(options["precision"])
    keras.utils.set_random_seed(options["seed"])
    if network.finds_objects:
        train = _train_detector
    elif options.get("staged"):
        train = _train_stages
    else:
        train = _train_two_stage if options.get("two_stage") else _train_once
    try:
        pictures = train(network, run, options, data, val, resume)
    except BaseException:
        # A mistake in the options or the data must not keep the folder from the corrected command.
        if is_new:
            run.withdraw()
        raise
    monitored = [row[options["monitor"]] for row in run.read_history() if options["monitor"] in row]
    best = {"min": min, "max": max}[mode_of(options["monitor"])](monitored)
    print(
        f"{options['monitor']} of the best epoch: {best:.4f}\n"
        f"model       {run.model}\ncurves      {run.curves}\npictures    {pictures}\n"
        f"next        keras-seg evaluate {run.path} --data {options['val'] or options['data']}\n"
        f"            keras-seg predict {run.path} IMAGES... --out predictions --overlay"
    )


def _open_data(options, finds_objects):
    """The sources to train and to validate on."""
    from keras_seg.data import open_source

    data = open_source(options["data"])
    if options["val"] is None:
        data, val = data.split(options["val_fraction"], options["seed"])
    else:
        val = open_source(options["val"])
    if val.num_classes != data.num_classes or val.channels != data.channels:
        raise ValueError(f"--data and --val differ: {data.describe()}; {val.describe()}.")
    if finds_objects and not data.has_objects:
        data.read_objects(0)  # raises, and says which data have
    if finds_objects and val.object_names != data.object_names:
        names = ", ".join(data.object_names), ", ".join(val.object_names)
        raise ValueError(f"--data and --val have other classes of objects: {names[0]}; {names[1]}.")
    return data, val


def _train_detector(network, run, options, data, val, resume):
    from keras_seg.training import train_instances

    names = (
        "epochs", "batch_size", "steps_per_epoch", "max_objects", "bad", "optimizer", "learning_rate",
        "schedule", "warmup_steps", "weight_decay", "momentum", "clip_norm", "monitor", "score_every",
        "score_limit", "patience", "pictures_every", "seed",
    )  # fmt: skip
    settings = {name: options[name] for name in names}
    settings["augment"] = None if options["augment"] == "none" else options["augment"]
    model = network.build(data, options)
    train_instances(model, data, val, run, jit_compile=options["jit"], resume=resume, **settings)
    return run.pictures


def _train_once(network, run, options, data, val, resume):
    from keras_seg.training import train_semantic
    from keras_seg.training.recipes import recipe

    settings = _training_settings(options)
    if options.get("recipe"):
        settings |= recipe(options["recipe"], options["variant"] or "8s", options["at_once"])
    model = network.build(data, options)
    train_semantic(model, data, val, run, epochs=options["epochs"], resume=resume, **settings)
    return run.pictures


def _train_stages(network, run, options, data, val, resume):
    from keras_seg.training import train_staged_fcn
    from keras_seg.training.staged import STAGES

    train_staged_fcn(
        lambda variant: network.build(data, options, variant=variant),
        data,
        val,
        run,
        epochs=options["stage_epochs"] or options["epochs"],
        # Runs of older versions have factors in their config beside a recipe.
        rate_factors=None if options["recipe"] else options["stage_rates"],
        recipe=options["recipe"],
        resume=resume,
        **_training_settings(options),
    )
    # Each stage has a folder in the run folder; the last one's pictures are of the result.
    return run.path / STAGES[-1] / "pictures"


def _train_two_stage(network, run, options, data, val, resume):
    from keras_seg.cli.options import read_proposals_option
    from keras_seg.data import propose
    from keras_seg.training import train_two_stage
    from keras_seg.training.two_stage import STAGES

    settings = _training_settings(options)
    settings["augment"] = settings["augment"] or "light"
    found = (read_proposals_option(options[name]) for name in ("proposals", "val_proposals"))
    boxes, val_boxes = (propose if some == "selective_search" else some for some in found)
    stages = {
        "proposals": boxes,
        "val_proposals": val_boxes,
        "statistics_steps": options["statistics_steps"],
    }
    train_two_stage(
        network.build(data, options),
        data,
        val,
        run,
        epochs=options["stage_epochs"] or options["epochs"],
        resume=resume,
        **{name: value for name, value in stages.items() if value is not None},
        **settings,
    )
    return run.path / STAGES[-1] / "pictures"


def _training_settings(options):
    """The options that are arguments of `train_semantic`, two of them under another name."""
    names = (
        "steps_per_epoch", "batch_size", "augment", "pixel_weights", "loss", "optimizer", "learning_rate",
        "schedule", "warmup_steps", "weight_decay", "momentum", "clip_norm", "monitor", "patience",
        "pictures_every", "seed",
    )  # fmt: skip
    settings = {name: options[name] for name in names}
    return settings | {"crop_size": options["crop"], "jit_compile": options["jit"]}


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
        "object_names": list(data.object_names),
        "category_ids": list(getattr(data, "category_ids", ())),
    }
