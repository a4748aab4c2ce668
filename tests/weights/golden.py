"""torchvision's answers, and the recipe that makes the weights they were computed with."""

import functools
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(os.environ.get("KERAS_SEG_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))


@functools.cache
def golden_recipe():
    """The module that makes weights from their names and shapes; skips where it is absent."""
    if not GOLDEN.is_dir():
        pytest.skip(
            f"no answers of torchvision at {GOLDEN}; set KERAS_SEG_GOLDEN to the folder that holds them"
        )
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def require(name):
    """(state dict, {name: array}) of a network; skips where they are absent."""
    state_dict = golden_recipe().state_dict(name)
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return state_dict, dict(arrays)
