import keras
import numpy as np
import pytest

from keras_seg.losses import CrossEntropy, CrossEntropyDice, Dice

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 5, 7, 3)).astype("float32")
IDS = RNG.integers(0, 3, (2, 5, 7)).astype("int32")
IDS[0, 0] = 255
WEIGHTS = RNG.uniform(size=(2, 5, 7)).astype("float32")


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_is_the_weighted_sum_of_its_parts(weights):
    received = float(CrossEntropyDice(255, dice_weight=0.25)(IDS, LOGITS, weights))
    expected = float(CrossEntropy(255)(IDS, LOGITS, weights)) + 0.25 * float(Dice(255)(IDS, LOGITS, weights))
    assert received == pytest.approx(expected, rel=1e-6)


def test_trains_and_reloads(tmp_path):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Conv2D(3, 1, data_format="channels_last")(images))
    model.compile(keras.optimizers.SGD(0.5), CrossEntropyDice(255), jit_compile=False)
    history = model.fit(LOGITS, IDS, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.loss, CrossEntropyDice)
    assert again.loss.get_config() == model.loss.get_config()
    assert again.evaluate(LOGITS, IDS, verbose=0) == pytest.approx(
        model.evaluate(LOGITS, IDS, verbose=0), rel=1e-6
    )


def test_error():
    with pytest.raises(ValueError, match=r"`dice_weight` must be a number within \[0, inf\]"):
        CrossEntropyDice(dice_weight=-1)
