"""`keras-seg serve DIR`: exported models behind a small HTTP server, with TF Serving's paths and a page."""

import dataclasses

from keras_seg.cli.options import add_command

_EXAMPLES = (
    "keras-seg serve served/mine",
    "keras-seg serve roads=served/mine cells=served/cells --port 8501",
    "keras-seg serve served/mine --host 0.0.0.0 --batch-images 16 --waiting-images 128",
)
# The limits that have an option, and what they are for.
_LIMITS = {
    "connections": "most open connections (503)",
    "body_bytes": "largest request body, bytes (413)",
    "image_pixels": "largest image, pixels (400); the network's memory grows with it",
    "batch_images": "most images in one request and in one run of the model",
    "batch_pixels": "most pixels in one request and in one run of the model",
    "waiting_images": "most images that wait for the model (503)",
    "read_seconds": "time for a client to send its body (408)",
    "answer_seconds": "time to answer (504)",
}


def add_parser(commands):
    from keras_seg.serving.limits import Limits

    parser = add_command(
        commands, "serve", "answer requests as TF Serving does, and a web page", _EXAMPLES, run
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]DIR",
        help="folder that `keras-seg export` wrote; its name is the model's",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is every one")
    parser.add_argument("--port", type=int, default=8501, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--poll-seconds", type=float, default=5.0, help="how often to look for newer versions; 0 never"
    )
    parser.add_argument(
        "--stop-seconds", type=float, default=60.0, help="time that accepted requests have when it is stopped"
    )
    for field in dataclasses.fields(Limits):
        if field.name in _LIMITS:
            option = "--" + field.name.replace("_", "-")
            parser.add_argument(option, type=field.type, default=field.default, help=_LIMITS[field.name])


def run(arguments):
    from keras_seg.serving.limits import Limits
    from keras_seg.serving.running import run_server

    limits = Limits(**{name: getattr(arguments, name) for name in _LIMITS})
    models = dict(_name_and_folder(text) for text in arguments.models)
    if len(models) != len(arguments.models):
        raise ValueError("Two models have the same name. Give names: NAME=DIR.")
    run_server(
        models,
        host=arguments.host,
        port=arguments.port,
        limits=limits,
        poll_seconds=arguments.poll_seconds,
        stop_seconds=arguments.stop_seconds,
    )


def _name_and_folder(text):
    from pathlib import Path

    name, equals, folder = text.partition("=")
    path = Path(folder if equals else text)
    if not path.is_dir():
        raise FileNotFoundError(f"No folder {path}. Export a model first: keras-seg export MODEL {path}")
    return (name if equals else path.resolve().name), path
