"""`keras-seg export MODEL PATH`: a file for another runtime, checked against `predict`."""

from keras_seg.cli.options import add_command, image_size

_EXAMPLES = (
    "keras-seg export runs/mine served/mine",
    "keras-seg serve served/mine",
    "keras-seg export runs/mine mine.onnx --format onnx --weights int8 --images photos/*.png",
    "keras-seg export runs/mine mine.tflite --format litert --input-size 288x384",
)


def add_parser(commands):
    from keras_seg.export.formats import FORMATS, WEIGHTS

    parser = add_command(commands, "export", "write a file for TF Serving or another runtime", _EXAMPLES, run)
    parser.add_argument("model", metavar="MODEL", help="run folder or .keras file")
    parser.add_argument(
        "out",
        metavar="PATH",
        help="saved_model: the model's folder, versions go into PATH/1, PATH/2, ...; else a .onnx, .xml "
        "(openvino) or .tflite (litert)",
    )
    parser.add_argument("--format", default="saved_model", choices=FORMATS, help="file format")
    parser.add_argument("--version", type=int, help="version number; the next free one if not given")
    parser.add_argument(
        "--input-size",
        type=image_size,
        help="size of the input, HxW, for a file of one size; litert needs it",
    )
    parser.add_argument("--weights", default="float32", choices=WEIGHTS, help="how weights are stored")
    parser.add_argument(
        "--images", nargs="+", metavar="FILE", help="images to compare on; drawn ones if not given"
    )


def run(arguments):
    from keras_seg.cli.model_files import open_model
    from keras_seg.export import export_model

    opened = open_model(arguments.model)
    report = export_model(
        opened.model,
        arguments.out,
        format=arguments.format,
        class_names=opened.class_names,
        colors=opened.colors,
        version=arguments.version,
        input_size=arguments.input_size,
        weights=arguments.weights,
        check_images=_read(arguments.images, opened.model),
    )
    print(report)


def _read(paths, model):
    """The images to compare on, in the model's channels and 0..255; None without any."""
    if not paths:
        return None
    from keras_seg.data.image_files import read_image

    return [read_image(path, model.input_shape[-1]) for path in paths]
