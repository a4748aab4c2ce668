"""`keras-seg export MODEL DIR`: a SavedModel that TF Serving takes, checked against `predict`."""

from keras_seg.cli.options import add_command

_EXAMPLES = (
    "keras-seg export runs/mine served/mine",
    "tensorflow_model_server --rest_api_port=8501 --model_name=mine --model_base_path=$PWD/served/mine",
)


def add_parser(commands):
    parser = add_command(commands, "export", "write a SavedModel that TF Serving takes", _EXAMPLES, run)
    parser.add_argument("model", metavar="MODEL", help="run folder or .keras file")
    parser.add_argument("out", metavar="DIR", help="folder of the model; versions go into DIR/1, DIR/2, ...")
    parser.add_argument("--format", default="saved_model", help="file format")
    parser.add_argument("--version", type=int, help="version number; the next free one if not given")


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
    )
    print(report)
