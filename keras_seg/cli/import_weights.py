"""`keras-seg import-weights NAME FILE`: a checkpoint of torchvision in, a model file out."""

import argparse
from pathlib import Path

from keras_seg.cli.options import add_command

_EXAMPLES = (
    "keras-seg import-weights fcn_resnet50 fcn_resnet50_coco-1167a1af.pth --out fcn.keras",
    "keras-seg import-weights resnet50 fine-tuned.safetensors --out resnet50.keras",
    "keras-seg import-weights vgg16 vgg16-397923af.pth --input-shape any any 1    # grey images",
    "keras-seg import-weights maskrcnn_resnet50_fpn maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth --out coco.keras",
    "keras-seg predict fcn.keras photos/ --out predictions --overlay",
)

_NEXT = {
    "classifier": "a dense classifier: a score vector per 224x224 window, 32 pixels apart, which sees\n"
    "            what lies around it: only at the image's rims are there zeros. In Python:\n"
    "              keras.saving.load_model({out!r}).predict(images)\n"
    "            To segment, load the checkpoint into the encoder of a network and train that, by\n"
    "              keras-seg train fcn --backbone {name} --encoder-weights {name}={file} --data ...\n"
    "            or in Python:\n"
    '              model = keras_seg.fcn(21, (None, None, {channels}), backbone="{name}")\n'
    '              keras_seg.weights.load_encoder(model, "{name}", {file!r}{transform})',
    "detector": "keras-seg predict {out} IMAGES... --out predictions --overlay\n"
    "            keras-seg evaluate {out} --data coco:ANNOTATIONS.json,IMAGES,labels=ids",
    "semantic": "keras-seg predict {out} IMAGES... --out predictions --overlay\n"
    "            keras-seg export {out} served/{name}",
}


def add_parser(commands):
    from keras_seg.weights import names

    parser = add_command(
        commands, "import-weights", "turn a checkpoint of torchvision into a model file", _EXAMPLES, run
    )
    parser.add_argument(
        "name", metavar="NAME", choices=names(), help=f"torchvision's network: {', '.join(names())}"
    )
    parser.add_argument("file", metavar="FILE", help=".pth, .pt or .safetensors file with its state_dict")
    parser.add_argument("--out", metavar="MODEL", help="model file to write; NAME.keras if not given")
    parser.add_argument(
        "--input-shape",
        nargs=3,
        type=_side,
        metavar=("H", "W", "C"),
        help='pixels and channels, "any" for a free side; any size, of detectors 1024 x 1024, and 3 channels '
        "if not given",
    )
    parser.add_argument(
        "--transform-input",
        action=argparse.BooleanOptionalAction,
        help="of googlenet: trained on x / 127.5 - 1, as torchvision's own file, which is recognized",
    )


def run(arguments):
    from keras_seg.utils.atomic import atomic_file
    from keras_seg.weights import from_torchvision
    from keras_seg.weights.catalog import architecture

    out = Path(arguments.out or f"{arguments.name}.keras")
    if out.suffix != ".keras":
        raise ValueError(f"--out must end in .keras. Received: {out}.")
    if out.exists():
        raise FileExistsError(f"{out} exists already. Choose another --out, or move that file away.")
    model, report = from_torchvision(
        arguments.name,
        arguments.file,
        arguments.input_shape and tuple(arguments.input_shape),
        transform_input=arguments.transform_input,
        return_report=True,
    )
    with atomic_file(out) as temporary:
        model.save(temporary)
    task = architecture(arguments.name).task
    transform = arguments.transform_input
    advice = _NEXT[task].format(
        out=str(out),
        name=arguments.name,
        file=arguments.file,
        channels=model.input_shape[-1],
        transform="" if transform is None else f", transform_input={transform}",
    )
    outputs = "detections" if task == "detector" else _shape(model.output_shape)
    sizes = f"{_shape(model.input_shape)} to {outputs}"
    print(f"{report}\nmodel       {out}, {out.stat().st_size / 1e6:.1f} MB: {sizes}\nnext        {advice}")


def _side(text):
    """Parse a number of pixels or channels, or "any"."""
    if text == "any":
        return None
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no size: write a number of pixels, or "any"')
    return int(text)


def _shape(shape):
    return " x ".join("any" if side is None else str(side) for side in shape[1:])
