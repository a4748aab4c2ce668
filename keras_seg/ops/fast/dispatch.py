"""Chooses between an op's portable form and the backend's own, and holds the switch between the two."""

import contextlib
import functools
import importlib
import os
from collections.abc import Callable
from typing import NamedTuple

import keras

_FORCED = os.environ.get("KERAS_SEG_PORTABLE", "0") not in ("", "0")
_EXPORTING = False
_COMMON = False


class Native(NamedTuple):
    """One entry of a backend module's table `NATIVE`.

    Attributes:
        function: the native form; it takes what the portable form takes.
        when: callable from the call's static facts, as keywords, to bool: whether the native form serves this
            call and wins. It is asked while tracing, so it may also ask what the trace is for.
    """

    function: Callable
    when: Callable = lambda **facts: True


def native_form(name, **facts):
    """The current backend's own form of an op, or None where the portable form is to be used.

    Args:
        name: str. A key of the backend's table `NATIVE`: a public op, or a step that several share.
        **facts: static values of this call that the choice may depend on, such as `strides`.

    Returns:
        Callable or None.
    """
    if _FORCED:
        return None
    native = _natives("runtimes" if _COMMON else keras.backend.backend()).get(name)
    return native.function if native is not None and native.when(**facts) else None


# AutoGraph leaves a cached function alone; else it would warn at each trace that it cannot read `importlib`.
@functools.cache
def _natives(backend):
    return importlib.import_module(f"keras_seg.ops.fast.{backend}").NATIVE


@contextlib.contextmanager
def portable(force=True):
    """Force the portable form of every op that is called, or traced, in this context.

    The environment variable `KERAS_SEG_PORTABLE=1` does the same for a whole process. What was traced before,
    such as a compiled train step, keeps the form that it was traced with. A gradient that is taken after the
    context, of an op that was called in it, chooses its own form anew: take it inside too.

    Args:
        force: bool. True for the portable forms, False for the native ones where they win.

    Example:
        >>> with keras_seg.ops.portable():
        ...     values, indices = keras_seg.ops.max_pool_with_argmax(x)
    """
    global _FORCED
    before, _FORCED = _FORCED, force
    try:
        yield
    finally:
        _FORCED = before


@contextlib.contextmanager
def for_export(common=False):
    """What is traced in this context will run elsewhere: by stock kernels, without hints to compile.

    Args:
        common: bool. True for files of other runtimes, which know fewer operations than the backend.
    """
    global _EXPORTING, _COMMON
    before, (_EXPORTING, _COMMON) = (_EXPORTING, _COMMON), (True, common)
    try:
        yield
    finally:
        _EXPORTING, _COMMON = before


def exporting():
    """Whether the current trace is for another process, see `for_export`."""
    return _EXPORTING


def refuse_symbolic(op, layer, *tensors):
    """Raise a TypeError for the placeholders of the functional API, which take a layer, not an op.

    `layer` is the one that does the same, or None where a user has to write it.
    """
    if any(isinstance(tensor, keras.KerasTensor) for tensor in tensors):
        use = f"use `{layer}`, which does the same" if layer else "call it in the `call` of a layer"
        raise TypeError(
            f"`ops.{op}` takes tensors with values, and received a KerasTensor. In the functional API {use}."
        )
