"""A layer of ours beside Keras's own: each alone in a model, in turn, in one process."""

import argparse

import keras
import numpy as np

from benchmarks.timing import POLICIES, interleaved_medians, write_results


def parser(description):
    """An argument parser with what both benchmarks of layers take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    return parser


def compare(cases, repeats, json=None):
    """Print, and write as JSON, the seconds of Keras's layer and ours, in every precision.

    Args:
        cases: list of (what, images, (H, W, C) of the map, function to Keras's layer, function to ours).
        repeats: int.
        json: path or None.
    """
    results = []
    backend = keras.backend.backend()
    print(f"{backend}, seconds: Keras's layer, ours, ratio")
    for precision, policy in POLICIES.items():
        keras.config.set_dtype_policy(policy)
        for what, images, shape, *makers in cases:
            works = [_works(maker(), images, shape) for maker in makers]
            for work in works[0]:
                functions = {"keras": works[0][work], "ours": works[1][work]}
                theirs, ours = interleaved_medians(functions, repeats).values()
                row = f"{what:28} {work:14} {precision:9} {theirs:.4f} {ours:.4f} {ours / theirs:.2f}"
                print(row, flush=True)
                facts = {"backend": backend, "case": what, "work": work, "precision": precision}
                results.append({**facts, "keras_seconds": theirs, "ours_seconds": ours})
    if json:
        write_results(json, results)


def _works(layer, images, shape):
    """The layer's work on random maps, as functions without arguments; a step is of plain SGD.

    A bias before the layer has a gradient, so that a step includes that of the layer's map.
    """
    model = keras.Sequential([keras.Input(shape), _Bias(), layer])
    model.compile("sgd", "mean_squared_error")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, *shape), dtype="float32")
    y = rng.standard_normal((images, *model.output_shape[1:]), dtype="float32")
    return {
        "predict": lambda: model.predict_on_batch(x),
        "training step": lambda: model.train_on_batch(x, y),
    }


class _Bias(keras.layers.Layer):
    def build(self, input_shape):
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs):
        return inputs + self.bias
