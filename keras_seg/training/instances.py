"""Trains Mask R-CNN on a data source into a run folder: one function behind `keras-seg train mask_rcnn`."""

import keras

from keras_seg.data import DataError, load_instances, open_source, without_bad_objects
from keras_seg.training.average_precision import AveragePrecision
from keras_seg.training.instance_pictures import InstancePictures
from keras_seg.training.optimizers import make_optimizer
from keras_seg.training.run_callbacks import out_of_patience, run_callbacks
from keras_seg.utils.validation import check_integer

_WARMUP = 20


def train_instances(
    model,
    train_data,
    val_data,
    run,
    *,
    epochs,
    batch_size=2,
    steps_per_epoch=None,
    augment="default",
    max_objects=100,
    bad="refuse",
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=None,
    weight_decay=1e-4,
    momentum=0.9,
    clip_norm=10.0,
    monitor="val_mask_ap",
    score_every=1,
    score_limit=None,
    patience=None,
    pictures_every=None,
    jit_compile="auto",
    seed=0,
    resume=False,
):
    """Train `model` by `fit`, and leave the best of it in `run.model`.

    After each epoch the five losses are taken on the held-out images, letterboxed to the model's size, and
    COCO's average precision on the same images at their own size. A run that was killed goes on from the end
    of its last epoch with `resume=True`, with the data stream at the very sample where it stood.

    Args:
        model: `keras_seg.mask_rcnn(...)`, not compiled; with `resume`, replaced by the checkpoint. Images are
            brought to its size.
        train_data: Source or spec of the training images, with objects.
        val_data: Source or spec of the held-out images, of the same classes.
        run: RunFolder, started.
        epochs: int, those before a resume included.
        batch_size: int, images.
        steps_per_epoch: int or None, which gives one pass over the training images.
        augment: None, a preset's name, or a `keras_seg.data.ObjectAugmentation`.
        max_objects: int. Objects of an image in one step; of more, so many are drawn.
        bad: "refuse" or "skip", for images and annotations of both sets that cannot be used; see
            `load_instances`.
        optimizer, learning_rate, schedule, warmup_steps, weight_decay, momentum, clip_norm: see
            `make_optimizer`; None for `warmup_steps` is a twentieth of all steps. The paper has "sgd" with
            0.02 for 16 images, which suits pretrained backbones.
        monitor: str. The log whose largest value marks the best model: "val_mask_ap", "val_box_ap",
            "val_mask_ap50", "val_box_ap50"; or a loss, as "val_loss", whose smallest does.
        score_every: int. Epochs between scorings by average precision.
        score_limit: int or None. Score so many held-out images, evenly spread; None for all.
        patience: int or None. Epochs without a new best after which training stops.
        pictures_every: int or None. Epochs between pictures of detections; None for ten in a training.
        jit_compile: bool or "auto" (default), Keras's choice: compiled by XLA on JAX, and on TensorFlow where
            there is an accelerator; on a CPU TensorFlow's own kernels are faster, see `benchmarks.unet`.
        seed: int. Of the order and the augmentation.
        resume: bool.

    Returns:
        keras_seg.models.detector.MaskRCNN: the best one, as saved.

    Raises:
        DataError: data without objects or of other classes than the model's, or a file that cannot be used;
            before the first step.

    Example:

        run = RunFolder("runs/nuclei")
        run.start({})
        train, val = open_source("nuclei:data/nuclei").split(0.2)
        train_instances(mask_rcnn(1, (256, 256, 3)), train, val, run, epochs=50, augment="microscopy")
    """
    check_integer("epochs", epochs)
    check_integer("batch_size", batch_size)
    train_data, val_data = open_source(train_data), open_source(val_data)
    for data in (train_data, val_data):
        check_classes(data, model.num_classes)
    steps_per_epoch = steps_per_epoch or max(1, -(-len(train_data) // batch_size))
    if resume and run.checkpoint.is_file():
        model = keras.saving.load_model(run.checkpoint)
    else:
        total_steps = epochs * steps_per_epoch
        model.compile(
            make_optimizer(
                optimizer,
                learning_rate=learning_rate,
                schedule=schedule,
                total_steps=total_steps,
                warmup_steps=total_steps // _WARMUP if warmup_steps is None else warmup_steps,
                weight_decay=weight_decay,
                momentum=momentum,
                clip_norm=clip_norm,
            ),
            jit_compile=jit_compile,
        )
    first_epoch = int(model.optimizer.iterations) // steps_per_epoch
    finished = first_epoch and out_of_patience(run.read_history(), monitor, patience)
    if first_epoch < epochs and not finished:
        shapes = {"image_size": model.image_size, "batch_size": batch_size, "max_objects": max_objects}
        if bad == "skip":
            # The scoring reads them itself, so they are taken out once for all.
            val_data = without_bad_objects(val_data)
        validation = load_instances(val_data, validate=bad == "refuse", **shapes)
        stream = load_instances(
            train_data,
            augment=augment,
            bad=bad,
            shuffle=True,
            repeat=True,
            seed=seed,
            start=first_epoch * steps_per_epoch * batch_size,
            # An endless stream has no remainder; so the shapes are fixed.
            drop_remainder=True,
            **shapes,
        )
        model.fit(
            stream,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            initial_epoch=first_epoch,
            validation_data=validation,
            callbacks=run_callbacks(
                run,
                [
                    AveragePrecision(val_data, score_every, score_limit, batch_size),
                    InstancePictures(run, val_data, pictures_every or max(1, epochs // 10)),
                ],
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                monitor=monitor,
                patience=patience,
                seed=seed,
            ),
            shuffle=False,  # the stream is shuffled already
            verbose=0,
        )
    return keras.saving.load_model(run.model)


def check_classes(data, num_classes):
    """Raise a DataError unless the data have objects of as many classes as a model has."""
    if data.has_objects and len(data.object_names) != num_classes:
        raise DataError(
            f"`{data.name}` has {len(data.object_names)} classes of objects "
            f"({', '.join(data.object_names[:12])}), the model {num_classes}. "
            f"Build it with num_classes={len(data.object_names)}."
        )
    if not data.has_objects:
        data.read_objects(0)  # raises, and says which data have
