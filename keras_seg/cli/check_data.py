"""`keras-seg check-data SPEC`: reads every file, counts classes or objects, and names all that is wrong."""

from pathlib import Path

from keras_seg.cli.options import DATA_HELP, add_command

_EXAMPLES = (
    "keras-seg check-data folder:my/data",
    "keras-seg check-data camvid:CamVid/train --pictures camvid-look",
    "keras-seg check-data coco:annotations.json,images",
)


def add_parser(commands):
    parser = add_command(
        commands, "check-data", "read every image, mask and annotation, and say what is wrong", _EXAMPLES, run
    )
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "--instances",
        action="store_true",
        help="count objects in place of pixels, and check what Mask R-CNN trains on; so it is for coco and "
        "labelme anyway",
    )
    parser.add_argument(
        "--pictures", metavar="DIR", help="write images beside their masks there, or with their objects"
    )
    parser.add_argument("--count", type=int, default=8, help="how many pictures, evenly spread")


def run(arguments):
    from keras_seg.data import check, check_objects, open_source

    source = open_source(arguments.data)
    instances = arguments.instances or source.masks_from_objects
    report = check_objects(source) if instances else check(source)
    print(report)
    if arguments.pictures and not report.problems:
        _write_pictures(source, instances, Path(arguments.pictures), arguments.count)
    if report.problems:
        raise ValueError(f"{len(report.problems)} problems, listed above.")
    if source.has_objects and not instances:
        print("The data have objects too: --instances counts and checks those.")


def _write_pictures(source, instances, folder, count):
    import numpy as np

    from keras_seg.viz import detection_overlay, panel, save_png

    for index in np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)):
        if instances:
            image, objects = source.read_objects(int(index))
            picture = detection_overlay(image, objects, source.object_names)
        else:
            image, mask = source.read(int(index))
            picture = panel(image, mask, None, source.class_names, source.colors, source.ignore_class)
        save_png(folder / f"{Path(source.ids[index]).name}.png", picture)
    print(f"pictures in {folder}")
