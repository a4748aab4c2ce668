"""Imports that only some users need, with the command that installs what is missing."""

import importlib


def import_optional(module, purpose, extra=None):
    """Import `module`, or say what it is needed for and how to install it.

    Args:
        module: str. Dotted module name, such as "keras_cv".
        purpose: str. What needs it, as a phrase: "backbones of KerasCV".
        extra: str or None. The extra of keras-seg that brings it; without one, the package's own name is
            advised.

    Raises:
        ImportError: the module is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        target = f"'keras-seg[{extra}]'" if extra else module.split(".")[0].replace("_", "-")
        raise ImportError(
            f"{purpose} need the package `{module}`. Install it: pip install {target}"
        ) from error
