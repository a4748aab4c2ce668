"""`keras-seg predict MODEL IMAGES...`: a mask beside each image's name, at the image's own size."""

import contextlib
from pathlib import Path

from keras_seg.cli.options import (
    add_command,
    add_detector_options,
    add_inference_options,
    read_proposals_option,
    refuse_options,
)

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")

_EXAMPLES = (
    "keras-seg predict runs/mine photos/ --out predictions --overlay",
    "keras-seg predict runs/mine a.png b.jpg --out predictions --probability car",
    "keras-seg predict runs/deconvnet photos/ --out predictions --proposals selective_search --crf",
    "keras-seg predict runs/nuclei slides/ --out cells --instances --augment all",
    "keras-seg predict runs/mask_rcnn photos/ --out objects --overlay --json objects/results.json",
)


def add_parser(commands):
    parser = add_command(commands, "predict", "segment images: files, or folders of them", _EXAMPLES, run)
    parser.add_argument("model", metavar="MODEL", help="run folder or .keras file")
    parser.add_argument("images", metavar="IMAGES", nargs="+", help="image files, or folders of them")
    parser.add_argument("--out", required=True, metavar="DIR", help="DIR/NAME.png is written for each NAME.*")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--probability",
        metavar="CLASS",
        help="8-bit probability of this class, name or id, in place of class ids",
    )
    kind.add_argument(
        "--instances", action="store_true", help="16-bit ids of separate objects, in place of class ids"
    )
    parser.add_argument(
        "--overlay", action="store_true", help="also write DIR/overlays/NAME.png, over the image"
    )
    add_inference_options(parser)
    add_detector_options(parser)
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="Mask R-CNN: write all detections there too, also those of low scores, as COCO's results",
    )


def run(arguments):
    from keras_seg.cli.model_files import open_model
    from keras_seg.data import DataError
    from keras_seg.inference import is_detector
    from keras_seg.utils.progress import track

    paths = find_images(arguments.images)
    opened = open_model(arguments.model)
    predictor = _detector if is_detector(opened.model) else _semantic_model
    problems = []
    with predictor(opened, paths, arguments) as predict:
        for path in track(paths, "predicting", disable=len(paths) == 1):
            # One bad file among a thousand must not cost the others.
            try:
                predict(path)
            except DataError as error:
                problems.append(str(error))
    print(f"{len(paths) - len(problems)} of {len(paths)} images segmented into {arguments.out}")
    if problems:
        raise ValueError("\n".join(["these could not be read:", *problems]))


def find_images(names):
    """Paths of the named files, and of all images in the named folders, in sorted order.

    Raises:
        FileNotFoundError: a name does not exist, or a folder has no image.
        ValueError: two images would be written to the same NAME.png.
    """
    paths = []
    for name in map(Path, names):
        if name.is_dir():
            found = sorted(path for path in name.iterdir() if path.suffix.lower() in SUFFIXES)
            if not found:
                raise FileNotFoundError(f"{name} has no images: no file in it ends in {', '.join(SUFFIXES)}.")
            paths += found
        elif name.is_file():
            paths.append(name)
        else:
            raise FileNotFoundError(f"{name} does not exist. Give image files, or folders of them.")
    by_stem = {}
    for path in paths:
        if by_stem.setdefault(path.stem, path) is not path:
            raise ValueError(
                f"{by_stem[path.stem]} and {path} would both be written to {path.stem}.png. "
                "Run them one after the other, with another --out."
            )
    return paths


@contextlib.contextmanager
def _detector(opened, paths, arguments):
    """Give what predicts one path and writes the map of its objects; their list is written at the end."""
    from keras_seg.cli.object_files import ObjectFiles

    refuse_options(arguments, ("proposals", "aggregate", "crf", "probability"), "a detector")
    files = ObjectFiles(
        opened,
        paths,
        arguments.out,
        score_threshold=arguments.score_threshold,
        min_scale=arguments.min_scale,
        augment=arguments.augment,
        batch_size=arguments.batch_size,
        overlay=arguments.overlay,
        results=bool(arguments.json),
    )
    yield files.predict
    if arguments.json:
        files.write_results(arguments.json)
        print(f"written to {arguments.json}")


@contextlib.contextmanager
def _semantic_model(opened, paths, arguments):
    """Give what predicts one path and writes its mask."""
    from keras_seg.cli.model_files import class_index
    from keras_seg.inference import FrozenModel

    refuse_options(arguments, ("score_threshold", "min_scale", "json"), "a model of classes")
    wanted = None if arguments.probability is None else class_index(opened, arguments.probability)
    proposals = read_proposals_option(arguments.proposals)
    # One image takes less time than the preparation.
    model = FrozenModel(opened.model) if len(paths) > 1 else opened.model
    folder = Path(arguments.out)
    yield lambda path: _predict_one(model, opened.colors, path, folder, wanted, proposals, arguments)


def _predict_one(model, colors, path, folder, wanted, proposals, arguments):
    from keras_seg.data.crop_sources import boxes_of
    from keras_seg.data.image_files import read_image
    from keras_seg.inference import predict_probabilities
    from keras_seg.inference.network import classes_from_probabilities
    from keras_seg.viz import instance_overlay, overlay, save_png

    image = read_image(path, model.input_shape[-1])
    if isinstance(proposals, dict):
        proposals = [boxes_of(proposals, path.stem, lambda: image)]
    probabilities = predict_probabilities(
        model,
        [image],
        batch_size=arguments.batch_size,
        augment=arguments.augment,
        proposals=proposals,
        aggregate=arguments.aggregate or "max",
        crf=arguments.crf,
    )[0]
    classes = classes_from_probabilities(probabilities)
    if arguments.instances:
        instances = _instances(probabilities)
        save_png(folder / f"{path.stem}.png", instances)
        picture = instance_overlay(image, instances)
    else:
        shown = classes if wanted is None else (255 * probabilities[..., wanted]).round().astype("uint8")
        save_png(folder / f"{path.stem}.png", shown)
        picture = overlay(image, classes, colors)
    if arguments.overlay:
        save_png(folder / "overlays" / f"{path.stem}.png", picture)


def _instances(probabilities):
    """16-bit instance ids: by watershed where there is a border class, else by connected components."""
    from keras_seg.inference import instances_from_semantic

    has_border = probabilities.shape[-1] == 3
    found = instances_from_semantic(probabilities, method="watershed" if has_border else "components")
    if found.max() > 65535:
        raise ValueError(
            f"{found.max()} objects are more than 16 bits can number. Segment the image in parts."
        )
    return found.astype("uint16")
