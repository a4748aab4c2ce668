"""The processes of an export: one with TensorFlow that writes the file, one without Keras that asks it."""

import contextlib
import os
import subprocess
import sys

from keras_seg.export.report import ExportError


@contextlib.contextmanager
def python_process(*arguments):
    """A child Python on the CPU, with TensorFlow as Keras backend; it does not outlive the context."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # All that this process can import, the modules beside the user's script too.
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(
        [sys.executable, *arguments], env=environment, text=True, encoding="utf-8", errors="replace", **pipes
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process, failure, advice="", text=""):
    """Wait for a child process and return its last line of output, or raise with its last words."""
    output, errors = process.communicate(text)
    if process.returncode:
        words = "\n".join(errors.strip().splitlines()[-12:])
        raise ExportError(f"{failure} (exit status {process.returncode}).{advice} Its last words:\n{words}")
    return output.strip().rpartition("\n")[2]


def layer_modules(model):
    """The modules whose import registers the model's layers, for those that Keras does not bring itself."""
    modules = {layer.__class__.__module__ for layer in _with_sublayers(model)}
    return {name for name in modules if name.partition(".")[0] not in ("keras", "__main__")}


def _with_sublayers(model):
    yield model
    for layer in getattr(model, "layers", ()):
        yield from _with_sublayers(layer)


def advice_on_layers(model):
    """What to do about layers that no other process can import, if the model has any."""
    own = {type(layer).__name__ for layer in _with_sublayers(model) if type(layer).__module__ == "__main__"}
    if not own:
        return ""
    return (
        f" {', '.join(sorted(own))} comes from the running script, which no other process can import. Move "
        "it to a module of its own."
    )
