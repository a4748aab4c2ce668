"""`keras-seg check-data SPEC`: reads every file, counts classes and sizes, and names all that is wrong."""

from pathlib import Path

from keras_seg.cli.options import DATA_HELP, add_command

_EXAMPLES = (
    "keras-seg check-data folder:my/data",
    "keras-seg check-data camvid:CamVid/train --pictures camvid-look",
)


def add_parser(commands):
    parser = add_command(
        commands, "check-data", "read every image and mask, and say what is wrong", _EXAMPLES, run
    )
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--pictures", metavar="DIR", help="write images beside their masks there")
    parser.add_argument("--count", type=int, default=8, help="how many pictures, evenly spread")


def run(arguments):
    import numpy as np

    from keras_seg.data import check, open_source
    from keras_seg.viz import panel, save_png

    source = open_source(arguments.data)
    report = check(source)
    print(report)
    if arguments.pictures and not report.problems:
        folder = Path(arguments.pictures)
        count = min(arguments.count, len(source))
        for index in np.unique(np.linspace(0, len(source) - 1, count).astype(int)):
            image, mask = source.read(int(index))
            picture = panel(image, mask, None, source.class_names, source.colors, source.ignore_class)
            save_png(folder / f"{Path(source.ids[index]).name}.png", picture)
        print(f"pictures in {folder}")
    if report.problems:
        raise ValueError(f"{len(report.problems)} problems, listed above.")
