"""FCN's staged training: 32s, then 16s from it, then 8s from that."""

import shutil

import keras

from keras_seg.models.weights import copy_weights, layers_by_name
from keras_seg.training.recipes import recipe as named_recipe
from keras_seg.training.run_folder import RunFolder
from keras_seg.training.semantic import train_semantic
from keras_seg.utils.atomic import atomic_file
from keras_seg.utils.validation import bad_argument, check_integer, check_number

STAGES = ("32s", "16s", "8s")
_RATE_FACTORS = (1.0, 0.1, 0.1)
# What a stage may have that the one before had not: the scores of a finer map, and learned upsampling.
_NEW = ("score_", "upscore")


def train_staged_fcn(
    build,
    train_data,
    val_data,
    run,
    *,
    epochs,
    learning_rate=1e-3,
    rate_factors=None,
    recipe=None,
    resume=False,
    **training,
):
    """Train an FCN-32s, go on from its best as FCN-16s, and from that one's as FCN-8s.

    Each stage takes over every layer of the stage before; what is new, the score layer of a finer map, starts
    at zero, so a stage starts where the one before ended (J. Long et al., CVPR 2015, sections 4.2 and 4.3;
    there the later rates are a hundredth of the first, by SGD over 100,000 steps; a tenth suits the shorter
    trainings by AdamW). The start of a stage counts as its epoch 0, so its best model is never worse on the
    held-out data than what it started from. All three networks are built before the first one is trained, so
    that a mistake shows at once.

    Args:
        build: callable from a variant, "32s", "16s" or "8s", to a keras.Model, not compiled. It is called
            again for each later stage.
        train_data, val_data: see `train_semantic`.
        run: RunFolder, started. Each stage has its own run folder inside, named as the variant; `run.model`
            becomes the last stage's best, `run.history` all stages' epochs in a row.
        epochs: int, or three, one for each stage.
        learning_rate: float. The first stage's peak.
        rate_factors: float, or three, one for each stage: its peak as a multiple of `learning_rate`. None for
            1, 0.1 and 0.1.
        recipe: None, or a name in `training.RECIPES`, which then sets the rates and more.
        resume: bool. Go on with the stage that was stopped.
        **training: further arguments of `train_semantic`, the same for all stages.

    Returns:
        keras.Model: the last stage's best.

    Raises:
        ValueError: not one or three epochs or factors, factors beside a recipe, or networks of which one
            cannot go on from the other; before anything is trained.
    """
    epochs = _one_for_each_stage("epochs", epochs, check_integer)
    settings = _settings_of_stages(learning_rate, rate_factors, recipe)
    # Kept for the first stage: its weights are the first that were drawn.
    model, best, stages = first_of_stages(build), None, []
    for variant, stage_epochs, own_settings in zip(STAGES, epochs, settings, strict=True):
        stage = RunFolder(run.path / variant)
        stage.start({**run.read_config(), "stage": variant}, resume)
        print(f"stage {variant}, {stage_epochs} epochs", flush=True)
        if best is not None:
            model = build(variant)
            _take_over(best, model)
        best = train_semantic(
            model,
            train_data,
            val_data,
            stage,
            epochs=stage_epochs,
            keep_start=best is not None,
            resume=resume,
            **{**training, **own_settings},
        )
        stages.append(stage)
        run.join_histories(stages)
    with atomic_file(run.model) as temporary:
        shutil.copyfile(stage.model, temporary)
    return best


def first_of_stages(build):
    """The first stage's network, once it is sure that the others can be built and take over its weights.

    Args:
        build: see `train_staged_fcn`.

    Raises:
        ValueError: as `build` does, or a network cannot go on from the one before it.
    """
    first = before = build(STAGES[0])
    for variant in STAGES[1:]:
        model = build(variant)
        _take_over(before, model)
        before = model
    return first


def _take_over(source, target):
    """Give `target` the weights of `source`, all but those of new score and upsampling layers."""
    theirs, ours = (
        next((part for part in m.layers if isinstance(part, keras.Model)), None) for m in (source, target)
    )
    if None in (theirs, ours) or set(layers_by_name(theirs)) == set(layers_by_name(ours)):
        new = copy_weights(source, target)
    else:
        # Layers that Keras numbers anew for each network, as in InceptionV3: by their order, since by name
        # all of them would count as new and keep their random weights.
        new = _copy_by_order(source, theirs, target, ours)
    strange = [name for name in new if not name.startswith(_NEW)]
    if strange:
        some = ", ".join(strange[:5])
        raise bad_argument(
            "build",
            f"a function whose {target.name} has the layers of its {source.name}, and score layers",
            f"{len(strange)} layers that the other lacks, as {some}",
            "Give the layers of the backbone names.",
        )


def _copy_by_order(source, their_encoder, target, our_encoder):
    """Copy the encoder by order, other layers by name; the names of those that were not in the source."""
    shapes = [[tuple(weight.shape) for weight in e.weights] for e in (their_encoder, our_encoder)]
    if shapes[0] != shapes[1]:
        return list(layers_by_name(our_encoder))
    our_encoder.set_weights(their_encoder.get_weights())
    scores = {layer.name: layer for layer in source.layers if layer is not their_encoder}
    new = []
    for layer in target.layers:
        if layer is our_encoder or not layer.weights:
            continue
        if layer.name in scores:
            layer.set_weights(scores[layer.name].get_weights())
        else:
            new.append(layer.name)
    return new


def _settings_of_stages(learning_rate, rate_factors, recipe):
    """The arguments of `train_semantic` that each stage has for itself."""
    if recipe is not None:
        settings = [named_recipe(recipe, variant) for variant in STAGES]
        if rate_factors is not None:
            raise bad_argument("rate_factors", "None with a recipe, which has rates of its own", rate_factors)
        return settings
    factors = _RATE_FACTORS if rate_factors is None else rate_factors
    factors = _one_for_each_stage("rate_factors", factors, lambda name, value: check_number(name, value, 0))
    return [{"learning_rate": learning_rate * factor} for factor in factors]


def _one_for_each_stage(name, value, check):
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * len(STAGES)
    if len(values) != len(STAGES):
        raise bad_argument(name, f"one value, or {len(STAGES)}, for {', '.join(STAGES)}", value)
    return tuple(check(name, value) for value in values)
