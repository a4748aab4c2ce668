"""Options that several commands share, and the types that their values are parsed with."""

import argparse

DATA_HELP = (
    "FORMAT:PATH, as in folder:my/data; formats: shapes, folder, voc, camvid, isbi, nuclei, kaggle-nuclei, "
    "coco (coco:ANNOTATIONS.json,IMAGES), labelme. FORMAT:PATH#START:STOP takes a part of the items, in "
    "sorted order"
)


def add_command(commands, name, summary, examples, run, **kwargs):
    """Add one command's parser, with its examples under the options."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "".join(f"  {example}\n" for example in examples),
        formatter_class=_HelpFormatter,
        **kwargs,
    )
    parser.set_defaults(run=run)
    return parser


def add_inference_options(parser):
    """How a model is run over whole images, the same for every command that does so."""
    from keras_seg.inference.augmentation import AUGMENTATIONS

    parser.add_argument(
        "--augment",
        choices=[kind for kind in AUGMENTATIONS if kind is not None],
        help="average over the mirror image too, or over all flips and quarter turns",
    )
    parser.add_argument(
        "--batch-size", type=int, default=4, help="tiles or crops at once, where images are cut up"
    )
    parser.add_argument(
        "--proposals",
        metavar="{selective_search,FILE}",
        help="segment crops around object proposals, as DeconvNet's paper: found now, or of a file "
        "that `keras-seg propose` wrote",
    )
    parser.add_argument(
        "--aggregate",
        choices=("max", "mean"),
        help="the scores of overlapping proposals: the largest, as the paper, if not given",
    )
    parser.add_argument(
        "--crf", action="store_true", help="refine the result by the image's edges: a fully connected CRF"
    )


def add_detector_options(parser):
    """What only detectors, as `mask_rcnn`, have; None where it was not given."""
    parser.add_argument(
        "--score-threshold",
        type=float,
        help="Mask R-CNN: detections of lower scores are not in the map of objects; 0.5 if not given",
    )
    parser.add_argument(
        "--min-scale",
        type=float,
        metavar="F",
        help="Mask R-CNN: see images that would be shrunk below this factor through overlapping windows; "
        "always one window if not given",
    )


def refuse_options(arguments, names, model):
    """Raise a ValueError if one of these options was given: it means nothing for this kind of model."""
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) not in (None, False)]
    if given:
        raise ValueError(f"{', '.join(given)} does not go with {model}. Leave it out.")


def read_proposals_option(text):
    """The value of --proposals: None, "selective_search", or a dict of image names to boxes."""
    from keras_seg.data import read_proposals

    return text if text in (None, "selective_search") else read_proposals(text)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults behind each option, examples as they were typed."""

    def _get_help_string(self, action):
        # "(default: None)" and "(default: False)" tell nobody anything.
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def image_size(text):
    """Parse "288x384" or "256" to (height, width) in pixels."""
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: write HEIGHTxWIDTH, as in 288x384, or one number"
        )
    return int(sides[0]), int(sides[-1])
