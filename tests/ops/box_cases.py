"""Boxes, recorded answers, compiled forms and gradients for the tests of ops."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
GOLDEN = Path(os.environ.get("KERAS_SEG_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))


def golden_answers():
    """Answers of torch and torchvision, a dict of arrays; skips where they are not."""
    path = GOLDEN / "ops.npz"
    if not path.is_file():
        pytest.skip(f"no golden answers at {path}; set KERAS_SEG_GOLDEN to the folder that holds them")
    with np.load(path) as answers:
        return dict(answers)


def random_boxes(*shape, side=100.0, seed=0):
    """float32 (*shape, 4) with corners within 0..1.5 * side and sides of at least a hundredth of `side`."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, side, (*shape, 2))
    return np.concatenate([start, start + rng.uniform(0.01 * side, 0.5 * side, (*shape, 2))], -1).astype(
        "float32"
    )


def boxes_about(count, height, width, seed=0, images=1):
    """float32 (images, count, 4): boxes of all sizes about an image, many of them over its border."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-0.1, 1.1, (images, count, 2)) * (width, height)
    sides = np.exp(random.uniform(np.log(2), np.log(1.5 * max(height, width)), (images, count, 2)))
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1).astype("float32")


def scored_boxes(count, seed=0, side=200, lowest=8, highest=80):
    """float32 (count, 4), their sides log-uniform, and scores (count,)."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, side, (count, 2))
    size = np.exp(random.uniform(np.log(lowest), np.log(highest), (count, 2)))
    return np.concatenate([corner, corner + size], 1).astype("float32"), random.random(count, "float32")


def every_way(function, *arrays, free_axes=2):
    """Yields how it was run and the outputs as a tuple of arrays: eager or compiled, and with unknown sizes.

    Args:
        function: takes tensors, returns a tensor or a tuple of them.
        *arrays: its arguments.
        free_axes: int or one for each array. So many of its first axes are unknown to `tf.function`.
    """

    def numbers(outputs):
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(keras.ops.convert_to_numpy(output) for output in outputs)

    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    if BACKEND == "jax":
        yield "jit", numbers(compiled(function)(*tensors))
        return  # eager JAX compiles each operation by itself: minutes for the same answer
    yield "eager", numbers(function(*tensors))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        if isinstance(free_axes, int):
            free_axes = [free_axes] * len(arrays)
        specs = [
            tf.TensorSpec([None if axis < free else size for axis, size in enumerate(x.shape)], x.dtype)
            for x, free in zip(tensors, free_axes, strict=True)
        ]
        yield "unknown sizes", numbers(tf.function(function, input_signature=specs)(*tensors))
        yield "XLA", numbers(tf.function(function, jit_compile=True)(*tensors))


def compiled(function):
    """`function` under `jax.jit` on JAX, which is far quicker for one call, and unchanged elsewhere."""
    if BACKEND != "jax":
        return function
    import jax

    return jax.jit(function)


def gradient(function, array):
    """The gradient of the scalar `function(x)` at `array`, as an array."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.constant(array)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x).numpy()
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(function))(array))
    x = keras.ops.convert_to_tensor(array).requires_grad_(True)
    function(x).backward()
    return x.grad.numpy()
