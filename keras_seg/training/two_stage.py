"""DeconvNet's two-stage training: single objects first, then whatever object proposals show."""

import shutil

from keras_seg.data import (
    check,
    instance_crops,
    load,
    open_source,
    proposal_crops,
    propose,
    read_proposals,
    write_proposals,
)
from keras_seg.training.batch_statistics import reestimate_batch_norm
from keras_seg.training.run_folder import RunFolder
from keras_seg.training.semantic import train_semantic
from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.progress import track
from keras_seg.utils.validation import bad_argument

STAGES = ("instances", "proposals")


def train_two_stage(
    model,
    train_data,
    val_data,
    run,
    *,
    epochs,
    crop_size=(224, 224),
    proposals=propose,
    val_proposals=None,
    learning_rate=0.01,
    batch_size=8,
    statistics_steps=100,
    resume=False,
    **training,
):
    """Train DeconvNet on objects, go on from the best on object proposals, and measure its batch statistics.

    Stage 1 sees the ground-truth objects one at a time, centred in 1.2 times their box, all else background.
    Stage 2 sees proposals that overlap an object's box with an IoU of at least 0.5, with all labels. Crops
    are 250 / 224 times as wide as `crop_size`, of which a random window is taken, mirrored half of the time;
    those of rare classes are repeated. Reference: Noh, Hong, Han 2015, section 4.2. The released code trains
    with `optimizer="sgd"` and `weight_decay=5e-4` at this rate.

    Args:
        model: keras.Model to logits (N, H, W, K), not compiled.
        train_data, val_data: Source or spec. Objects are the format's instances, or the connected parts of
            each class where it has none.
        run: RunFolder, started. Each stage has its own run folder inside; `run.model` becomes the second
            one's best, with its batch statistics measured anew; `run.history` both stages' epochs in a row.
        epochs: int, or two, one for each stage. 0 leaves the first stage out.
        crop_size: (height, width) in pixels, as the model takes.
        proposals: callable from an image to boxes (P, 4), whose boxes are kept in the second stage's folder
            for a resumed run; or a dict from the ids of the images to boxes.
        val_proposals: likewise, of `val_data`; None where `proposals` are of both. Two data sets whose images
            have the same ids need two dicts.
        learning_rate: float. The peak of each stage. At a tenth of the default, the scores of a training of
            some hundred steps stay too small to tell classes apart, see docs/results.md.
        batch_size: int, crops.
        statistics_steps: int. Training batches for the batch statistics; 0 leaves the moving averages.
        resume: bool. Go on with the stage that was stopped.
        **training: further arguments of `train_semantic`, the same for both stages.

    Returns:
        keras.Model: the best of stage 2.

    Raises:
        ValueError: not one or two epochs.
        DataError: there are no objects, or no proposals that overlap them.
    """
    epochs = tuple(epochs) if isinstance(epochs, (tuple, list)) else (epochs,) * 2
    if len(epochs) != 2 or epochs[1] < 1:
        raise bad_argument("epochs", "one number of epochs, or two, the second at least 1", epochs)
    train_data, val_data = open_source(train_data), open_source(val_data)
    training = {"augment": "light", "batch_size": batch_size, "crop_size": crop_size, **training}
    # The released code cuts 250 pixels, and windows of 224 out of them.
    side = -(-250 * max(crop_size) // 224)
    best, stages = None, []
    for stage_name, stage_epochs in zip(STAGES, epochs, strict=True):
        if not stage_epochs:
            continue
        stage = RunFolder(run.path / stage_name)
        stage.start({**run.read_config(), "stage": stage_name}, resume)
        if stage_name == "instances":
            crops = (
                instance_crops(train_data, size=side),
                instance_crops(val_data, size=side, balance=False),
            )
        else:
            boxes = _kept(proposals, train_data, stage.path / "train_boxes.npz")
            val_boxes = _kept(val_proposals or proposals, val_data, stage.path / "val_boxes.npz")
            crops = (
                proposal_crops(train_data, boxes, size=side),
                proposal_crops(val_data, val_boxes, size=side, balance=False),
            )
        print(f"stage {stage_name}: {len(crops[0])} crops, {stage_epochs} epochs", flush=True)
        best = train_semantic(
            model if best is None else best,
            *crops,
            stage,
            epochs=stage_epochs,
            learning_rate=learning_rate,
            keep_start=best is not None,
            resume=resume,
            **training,
        )
        stages.append(stage)
        run.join_histories(stages)
    if statistics_steps:
        _measure_statistics(best, crops[0], training, statistics_steps)
        run.save_model(best, run.model)
    else:
        with atomic_file(run.model) as temporary:
            shutil.copyfile(stage.model, temporary)
    return best


def _kept(proposals, source, file):
    """The boxes of each image as a dict; what a callable finds is kept in the file for a resumed run."""
    if not callable(proposals):
        return proposals
    if not file.is_file():
        check(source).raise_if_bad()
        found = {}
        for index, name in enumerate(track(source.ids, "Proposals")):
            found[name] = proposals(source.read(index)[0])
        write_proposals(file, found)
    return read_proposals(file)


def _measure_statistics(model, crops, training, steps):
    batches = load(
        crops,
        batch_size=training["batch_size"],
        crop_size=training["crop_size"],
        augment=training["augment"],
        shuffle=True,
        repeat=True,
        validate=False,
    )
    reestimate_batch_norm(model, ((images.numpy(), masks) for images, masks in batches), steps)
