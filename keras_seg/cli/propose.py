"""`keras-seg propose --data SPEC --out FILE`: object proposals of a data set, found once for many runs."""

from keras_seg.cli.options import DATA_HELP, add_command

_EXAMPLES = (
    "keras-seg propose --data voc:VOC2012,set=train --out train.npz",
    "keras-seg propose --data camvid:camvid/val --count 100 --min-side 16 --out val.json",
    "keras-seg propose --data voc:VOC2012,set=train --detector runs/mask_rcnn --out train.npz",
    "keras-seg train deconvnet --two-stage --data voc:VOC2012,set=train --proposals train.npz",
)


def add_parser(commands):
    from keras_seg.data.proposals import METHODS

    parser = add_command(commands, "propose", "write object proposals to a file", _EXAMPLES, run)
    parser.add_argument("--data", required=True, action="append", help=f"{DATA_HELP}; may be given again")
    parser.add_argument("--out", required=True, metavar="FILE", help="FILE.npz or FILE.json")
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="how they are found")
    parser.add_argument("--model-file", help="the structured-edge model, for edge_boxes")
    parser.add_argument(
        "--detector", metavar="MODEL", help="a trained Mask R-CNN, whose proposals are taken in their place"
    )
    parser.add_argument("--count", type=int, default=50, help="most boxes of an image")
    parser.add_argument("--enlarge", type=float, default=1.2, help="factor on both sides of a box")
    parser.add_argument(
        "--min-side",
        type=float,
        default=0.1,
        help="least side of a box: a part of the image's shorter side up to 1, pixels above",
    )
    parser.add_argument("--seed", type=int, default=0, help="of selective search")


def run(arguments):
    from keras_seg.data import open_source, write_proposals
    from keras_seg.utils.progress import track

    sources = [open_source(spec) for spec in arguments.data]
    items = [(source, index) for source in sources for index in range(len(source))]
    find = _finder(arguments)
    found = {}
    for source, index in track(items, "proposals"):
        name = source.ids[index]
        if name in found:
            raise ValueError(f"Two images are called {name}. Write their proposals to two files.")
        found[name] = find(source.read(index)[0])
    write_proposals(arguments.out, found)
    boxes = sum(map(len, found.values()))
    print(f"{boxes} boxes of {len(found)} images written to {arguments.out}")
    print(f"next        keras-seg train deconvnet --two-stage --data ... --proposals {arguments.out}")


def _finder(arguments):
    """The function from an image to boxes that the options name."""
    common = {name: getattr(arguments, name) for name in ("count", "enlarge", "min_side")}
    if arguments.detector:
        from keras_seg.cli.model_files import open_model
        from keras_seg.inference import RegionProposals

        return RegionProposals(open_model(arguments.detector).model, **common)
    from keras_seg.data import propose

    options = {"seed": arguments.seed, "model_file": arguments.model_file, **common}
    return lambda image: propose(image, arguments.method, **options)
