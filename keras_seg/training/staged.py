"""FCN's staged training: 32s, then 16s from it, then 8s from that."""

import shutil

from keras_seg.models.weights import copy_weights
from keras_seg.training.recipes import recipe as named_recipe
from keras_seg.training.run_folder import RunFolder
from keras_seg.training.semantic import train_semantic
from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.validation import bad_argument
from keras_seg.viz import learning_curves, save_png

STAGES = ("32s", "16s", "8s")


def train_staged_fcn(
    build,
    train_data,
    val_data,
    run,
    *,
    epochs,
    learning_rate=1e-3,
    rate_factors=(1.0, 0.1, 0.1),
    recipe=None,
    resume=False,
    **training,
):
    """Train an FCN-32s, go on from its best as FCN-16s, and from that one's as FCN-8s.

    Each stage takes over every layer of the stage before; what is new, the score layer of a finer map, starts
    at zero, so a stage starts where the one before ended (J. Long et al., CVPR 2015, sections 4.2 and 4.3;
    there the later rates are a hundredth of the first, by SGD over 100,000 steps; a tenth suits the shorter
    trainings by AdamW). The start of a stage counts as its epoch 0, so its best model is never worse on the
    held-out data than what it started from.

    Args:
        build: callable from a variant, "32s", "16s" or "8s", to a keras.Model, not compiled.
        train_data, val_data: see `train_semantic`.
        run: RunFolder, started. Each stage has its own run folder inside, named as the variant; `run.model`
            becomes the last stage's best, `run.history` all stages' epochs in a row.
        epochs: int, or three, one for each stage.
        learning_rate: float. The first stage's peak.
        rate_factors: three floats. Each stage's peak as a multiple of `learning_rate`.
        recipe: None, or a name in `training.RECIPES`, which then sets the rates and more.
        resume: bool. Go on with the stage that was stopped.
        **training: further arguments of `train_semantic`, the same for all stages.

    Returns:
        keras.Model: the last stage's best.

    Raises:
        ValueError: not one or three epochs, or not three factors.
    """
    epochs = _one_for_each_stage("epochs", epochs)
    rate_factors = _one_for_each_stage("rate_factors", rate_factors)
    best, rows = None, []
    for variant, stage_epochs, factor in zip(STAGES, epochs, rate_factors, strict=True):
        stage = RunFolder(run.path / variant)
        stage.start({**run.read_config(), "stage": variant}, resume)
        print(f"stage {variant}, {stage_epochs} epochs", flush=True)
        model = build(variant)
        if best is not None:
            copy_weights(best, model)
        settings = {**training, "learning_rate": learning_rate * factor}
        if recipe is not None:
            settings |= named_recipe(recipe, variant)
        best = train_semantic(
            model,
            train_data,
            val_data,
            stage,
            epochs=stage_epochs,
            keep_start=best is not None,
            resume=resume,
            **settings,
        )
        done = len(rows)
        rows += [{**row, "epoch": done + i + 1} for i, row in enumerate(stage.read_history())]
        run.write_history(rows)
        columns = {key: [row.get(key) for row in rows] for key in rows[-1] if key != "epoch"}
        save_png(run.curves, learning_curves(columns))
    with atomic_file(run.model) as temporary:
        shutil.copyfile(stage.model, temporary)
    return best


def _one_for_each_stage(name, value):
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * len(STAGES)
    if len(values) != len(STAGES):
        raise bad_argument(name, f"one value, or {len(STAGES)}, for {', '.join(STAGES)}", value)
    return values
