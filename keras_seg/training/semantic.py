"""Trains a semantic model on a data source into a run folder: one function behind `keras-seg train`."""

import keras

from keras_seg import losses, metrics
from keras_seg.data import load, open_source
from keras_seg.training.optimizers import make_optimizer
from keras_seg.training.pictures import PredictionPictures
from keras_seg.training.run_callbacks import out_of_patience, run_callbacks
from keras_seg.training.truth import truth_at_output, whole_image_size
from keras_seg.utils.validation import check_choice, check_integer

LOSSES = ("cross_entropy", "cross_entropy_sum", "dice", "cross_entropy_dice", "focal")


def train_semantic(
    model,
    train_data,
    val_data,
    run,
    *,
    epochs,
    batch_size=8,
    steps_per_epoch=None,
    crop_size=None,
    augment=None,
    pixel_weights=None,
    loss="cross_entropy",
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=0,
    weight_decay=1e-4,
    momentum=0.9,
    clip_norm=None,
    monitor="val_mean_iou",
    patience=None,
    pictures_every=None,
    jit_compile="auto",
    seed=0,
    keep_start=False,
    resume=False,
):
    """Train `model` by `fit`, and leave the best of it in `run.model`.

    A run that was killed goes on from the end of its last epoch with `resume=True`: model, optimizer,
    history, and the data stream at the very sample where it stood.

    Args:
        model: keras.Model to logits (N, H, W, K), not compiled; with `resume`, replaced by the checkpoint.
        train_data: Source or spec of the training images.
        val_data: Source or spec of the held-out images, taken whole, one at a time where sizes differ.
        run: RunFolder, started.
        epochs: int, those before a resume included.
        batch_size: int, images.
        steps_per_epoch: int or None, which gives one pass over the training images.
        crop_size: (height, width) of the random crops, or None for whole images of one size.
        augment: an `Augmentation`, its preset's name, or None.
        pixel_weights: None, "border" or "balance" (see `keras_seg.data.load`).
        loss: one of `LOSSES`.
        optimizer, learning_rate, schedule, warmup_steps, weight_decay, momentum, clip_norm: see
            `make_optimizer`.
        monitor: str. The log whose largest value marks the best model; with a name that ends in "loss", the
            smallest.
        patience: int or None. Epochs without a new best after which training stops.
        pictures_every: int or None. Epochs between pictures of predictions; None for ten in a training.
        jit_compile: bool or "auto" (default), Keras's choice: compiled by XLA on JAX, and on TensorFlow where
            there is an accelerator; on a CPU TensorFlow's own kernels are faster, see `benchmarks.unet`.
        seed: int. Of the shuffle and the augmentation.
        keep_start: bool. The model as given is epoch 0 of the history, and the best until a better one: for a
            model that is trained already.
        resume: bool.

    Returns:
        keras.Model: the best one, as saved.

    Raises:
        DataError: a file cannot be used; before the first step.
    """
    check_integer("epochs", epochs)
    train_data, val_data = open_source(train_data), open_source(val_data)
    steps_per_epoch = steps_per_epoch or max(1, -(-len(train_data) // batch_size))
    if resume and run.checkpoint.is_file():
        model = keras.saving.load_model(run.checkpoint)
    else:
        model.compile(
            make_optimizer(
                optimizer,
                learning_rate=learning_rate,
                schedule=schedule,
                total_steps=epochs * steps_per_epoch,
                warmup_steps=warmup_steps,
                weight_decay=weight_decay,
                momentum=momentum,
                clip_norm=clip_norm,
            ),
            make_loss(loss, train_data.ignore_class),
            metrics=[metrics.ConfusionMatrix(train_data.num_classes, train_data.ignore_class)],
            jit_compile=jit_compile,
        )
    first_epoch = int(model.optimizer.iterations) // steps_per_epoch
    finished = first_epoch and out_of_patience(run.read_history(), monitor, patience)
    if first_epoch < epochs and not finished:
        # Both are checked here, file by file, so that a bad one is named before the first step.
        validation = load(val_data, batch_size=1, crop_size=whole_image_size(model, val_data))
        stream = load(
            train_data,
            batch_size=batch_size,
            crop_size=crop_size,
            augment=augment,
            weights=pixel_weights,
            shuffle=True,
            repeat=True,
            seed=seed,
            start=first_epoch * steps_per_epoch * batch_size,
        )
        validation = truth_at_output(validation, model)
        if keep_start and first_epoch == 0:
            _keep_start(model, validation, run)
        model.fit(
            truth_at_output(stream, model),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            initial_epoch=first_epoch,
            validation_data=validation,
            callbacks=run_callbacks(
                run,
                [PredictionPictures(run, val_data, pictures_every or max(1, epochs // 10))],
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


def make_loss(name, ignore_class=None):
    """The loss of a name in `LOSSES`."""
    check_choice("loss", name, LOSSES)
    if name == "cross_entropy":
        return losses.CrossEntropy(ignore_class)
    if name == "cross_entropy_sum":
        return losses.CrossEntropy(ignore_class, reduction="sum")
    if name == "dice":
        return losses.Dice(ignore_class)
    if name == "cross_entropy_dice":
        return losses.CrossEntropyDice(ignore_class)
    return losses.Focal(ignore_class=ignore_class)


def _keep_start(model, validation, run):
    scores = model.evaluate(validation, return_dict=True, verbose=0)
    # A file with the optimizer's settings but without its variables loads with a warning.
    model.optimizer.build(model.trainable_variables)
    run.save_model(model, run.model)
    run.write_history([{"epoch": 0, **{f"val_{name}": float(score) for name, score in scores.items()}}])
