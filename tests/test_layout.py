"""The house rules that a machine can hold: floors, file sizes, names, and what an import loads."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_seg

pytestmark = pytest.mark.tf_only

PACKAGE = Path(keras_seg.__file__).parent
FLOORS = {
    "version": 0,
    "utils": 0,
    "ops": 1,
    "layers": 2,
    "losses": 2,
    "metrics": 2,
    "backbones": 3,
    "models": 4,
    "inference": 5,
    "export": 5,
    "weights": 5,
    "viz": 5,
    "training": 5,
    "serving": 6,
    "cli": 7,
}
# Siblings that are another's tool: training draws pictures, and asks for a network's sizes; an export is
# compared with what inference gives.
TOOLS = {("training", "viz"), ("training", "inference"), ("export", "inference")}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(module):
    return module.split(".")[1] if "." in module else None


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "keras_seg":
                yield from (f"keras_seg.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_the_floors(path):
    parts = path.relative_to(PACKAGE).parts
    if len(parts) == 1:
        return  # the package's own front, which re-exports
    here = parts[0]
    for module in imports(path):
        there = part_of(module) if module.startswith("keras_seg") else None
        if here == "data":
            assert there in (None, "data", "utils"), f"data/ may use utils/ only, not {module}"
            assert module.split(".")[0] != "keras", "keras.ops fails inside tf.data under JAX and torch"
        elif there == "data":
            assert FLOORS[here] >= 5, f"{here}/ is too low to read data/"
        elif there is not None and there != here and there != "version":
            lower = FLOORS[there] < FLOORS[here]
            assert lower or (here, there) in TOOLS, f"{here}/ may not import {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_readable_in_one_sitting(path):
    lines = path.read_text().count("\n")
    assert lines <= 350
    assert path.name not in ("common.py", "helpers.py", "utils.py", "misc.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_say_what_they_are_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_assert_on_a_users_input(path):
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text())))


def test_no_name_is_both_a_file_and_a_function_beside_it():
    for init in PACKAGE.rglob("__init__.py"):
        exported = {alias.name for node in ast.walk(ast.parse(init.read_text()))
                    if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
        names = {path.stem for path in init.parent.glob("*.py")} | {p.name for p in init.parent.iterdir()}
        subpackages = {p.name for p in init.parent.iterdir() if p.is_dir()}
        assert not (exported - subpackages) & names, init


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_import_loads_keras_and_nothing_heavier(backend):
    code = (
        "import sys, keras_seg; from keras_seg import unet; "
        "heavy = {'tensorflow', 'torch', 'torchvision', 'jax', 'scipy', 'skimage', 'PIL', 'tifffile', "
        "'pycocotools', 'keras_cv'} & set(sys.modules); print(sorted(heavy))"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(ast.literal_eval(run.stdout.strip().splitlines()[-1]))
    plain = subprocess.run(
        [sys.executable, "-c", code.replace("import sys, keras_seg; from keras_seg import unet;",
                                            "import sys, keras;")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded == set(ast.literal_eval(plain.stdout.strip().splitlines()[-1]))


def test_public_names():
    parts = ("backbones", "data", "export", "inference", "layers", "losses", "metrics", "ops", "viz")
    for name in ("deconvnet", "fcn", "unet", "weights", *parts):
        assert getattr(keras_seg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'pspnet'"):
        keras_seg.pspnet  # noqa: B018
