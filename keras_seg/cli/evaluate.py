"""`keras-seg evaluate MODEL --data SPEC`: every score by name, on the screen and as JSON."""

import json

from keras_seg.cli.options import (
    DATA_HELP,
    add_command,
    add_detector_options,
    add_inference_options,
    read_proposals_option,
    refuse_options,
)

_EXAMPLES = (
    "keras-seg evaluate runs/mine --data folder:my/test",
    "keras-seg evaluate runs/deconvnet --data voc:VOC2012,set=val --proposals selective_search --crf",
    "keras-seg evaluate runs/isbi --data isbi:isbi2012#20:24 --augment all --json isbi.json",
    "keras-seg evaluate runs/mask_rcnn --data coco:val.json,images --json scores.json",
    "keras-seg evaluate runs/nuclei --data nuclei:data/nuclei --max-detections 300 --min-scale 2",
)


def add_parser(commands):
    parser = add_command(commands, "evaluate", "score a model on whole images", _EXAMPLES, run)
    parser.add_argument("model", metavar="MODEL", help="run folder or .keras file")
    parser.add_argument("--data", required=True, help=DATA_HELP)
    add_inference_options(parser)
    add_detector_options(parser)
    parser.add_argument(
        "--max-detections", type=int, help="Mask R-CNN: counted an image in COCO's scores; 100 if not given"
    )
    parser.add_argument("--json", metavar="FILE", help="write the scores there too")


def run(arguments):
    from keras_seg.cli.model_files import open_model
    from keras_seg.data import open_source
    from keras_seg.inference import is_detector
    from keras_seg.utils.atomic import atomic_file

    opened = open_model(arguments.model)
    data = open_source(arguments.data)
    scores = (_evaluate_detector if is_detector(opened.model) else _evaluate_semantic)(
        opened.model, data, arguments
    )
    print(f"{opened.path} on {data.describe()}")
    width = max(map(len, scores))
    for name, value in scores.items():
        print(f"{name:{width}}  {value:.4f}")
    if arguments.json:
        # NaN, the score of a class that never occurs, is no JSON.
        values = {name: value if value == value else None for name, value in scores.items()}
        with atomic_file(arguments.json) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n")
        print(f"written to {arguments.json}")


def _evaluate_semantic(model, data, arguments):
    from keras_seg.inference import evaluate_semantic

    refuse_options(arguments, ("score_threshold", "min_scale", "max_detections"), "a model of classes")
    return evaluate_semantic(
        model,
        data,
        batch_size=arguments.batch_size,
        augment=arguments.augment,
        proposals=read_proposals_option(arguments.proposals),
        aggregate=arguments.aggregate or "max",
        crf=arguments.crf,
    )


def _evaluate_detector(model, data, arguments):
    from keras_seg.inference import FrozenModel, evaluate_instances

    refuse_options(arguments, ("proposals", "aggregate", "crf"), "a detector")
    given = {
        "instance_score_threshold": arguments.score_threshold,
        "max_detections": arguments.max_detections,
        "min_scale": arguments.min_scale,
        "augment": arguments.augment,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return evaluate_instances(FrozenModel(model), data, batch_size=arguments.batch_size, **given)
