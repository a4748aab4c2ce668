"""A small training from fixed weights and batches; prints its loss after every step as JSON.

Run by `test_loss_curves.py` once on each backend.
"""

import json

import keras
import numpy as np

from keras_seg import losses, unet
from keras_seg.data import shapes


def fixed_weights(model):
    """Weights that depend on their shape and place alone, of the size that He's rule gives."""
    rng = np.random.default_rng(0)
    return [
        rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape)
        if len(weight.shape) > 1
        else weight
        for weight in model.get_weights()
    ]


def main():
    model = unet(4, filters=4, depth=2, normalization="batch", dropout=0.0)
    model.set_weights(fixed_weights(model))
    model.compile(keras.optimizers.AdamW(1e-3), losses.CrossEntropy(), jit_compile=False)
    data = shapes(8, size=32, seed=5, batch_size=4, shuffle=True, augment="light", repeat=True)
    curve = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: curve.append(logs["loss"]))
    for _ in range(2):  # the log is a mean since the epoch began: two epochs reset it once
        model.fit(data, steps_per_epoch=10, verbose=0, callbacks=[record], shuffle=False)
    print(json.dumps([float(value) for value in curve]))


if __name__ == "__main__":
    main()
