"""The TensorFlow process of the other formats: `python -m keras_seg.export.runtime_writer JOB.json`.

It runs with `KERAS_BACKEND=tensorflow` whatever backend the caller has: Keras's exporters cover most there.
The job is a JSON object: `model` (a `.keras` file), `modules` (imported first), `format`, `input_size`,
`batch_size`, `weights`, `classes` and `file`. Prints one line, as JSON, that describes inputs and outputs.
"""

import importlib
import json
import sys
import zipfile
from pathlib import Path

import keras


def main(job_file):
    from keras_seg.export.array_network import array_network
    from keras_seg.ops.fast import for_export

    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    for module in job["modules"]:
        importlib.import_module(module)
    # Not safe mode: the caller's process has run this very model, its Lambda layers included.
    model = keras.models.load_model(job["model"], compile=False, safe_mode=False)
    classes = json.dumps({"classes": job["classes"]}, ensure_ascii=False)
    with for_export(common=True):
        network = array_network(model, job["input_size"], job["batch_size"])
        _WRITERS[job["format"]](network, Path(job["file"]), job["weights"], classes)
    print(json.dumps(_describe(network)))


def _write_onnx(network, file, weights, classes):
    import onnx

    from keras_seg.export.onnx_weights import compress_weights

    network.export(str(file), format="onnx", verbose=False, input_signature=_signature(network))
    written = onnx.load(file)
    compress_weights(written, weights)
    onnx.helper.set_model_props(written, {"classes": classes})
    onnx.checker.check_model(written)
    onnx.save(written, file)


def _write_openvino(network, file, weights, classes):
    import openvino

    network.export(str(file), format="openvino", verbose=False, input_signature=_signature(network))
    written = openvino.Core().read_model(file)
    for output in written.outputs:
        _name_openvino_output(output)
    if weights == "int8":
        import nncf

        written = nncf.compress_weights(written, mode=nncf.CompressWeightsMode.INT8_SYM)
    written.set_rt_info(classes, ["keras_seg", "classes"])
    # Under other names first: the weights are still mapped from the files that are replaced.
    temporary = file.with_name(f"compressed-{file.name}")
    openvino.save_model(written, temporary, compress_to_fp16=weights == "float16")
    del written
    for suffix in (".bin", ".xml"):
        temporary.with_suffix(suffix).replace(file.with_suffix(suffix))


def _name_openvino_output(output):
    """Give an output its own name alone: the exporter's are those of TensorFlow's graph."""
    shape, kind = output.partial_shape, output.element_type.get_type_name()
    producer = output.get_node().input_value(0).get_node()
    if kind.startswith("i"):
        name = "classes"
    elif producer.get_type_name() in ("Softmax", "SoftMax", "Sigmoid"):
        name = "probabilities"
    else:
        name = "logits"
    output.tensor.set_names({name})
    return shape


def _write_litert(network, file, weights, classes):
    import tensorflow as tf

    # Built-in ops alone: with TensorFlow's own ("Flex") the usual interpreters could not run the file.
    target = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    options = {}
    if weights != "float32":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        target["supported_types"] = [tf.float16]
    network.export(str(file), format="litert", verbose=False, target_spec=target, **options)
    # As TensorFlow Lite's metadata packs label files: a zip archive behind the model, which readers skip.
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("classes.json", classes)


_WRITERS = {"onnx": _write_onnx, "openvino": _write_openvino, "litert": _write_litert}


def _signature(network):
    return [keras.InputSpec(shape=network.input_shape, dtype="float32", name="images")]


def _describe(network):
    def tensor(name, tensor):
        shape = ", ".join("?" if side is None else str(side) for side in tensor.shape)
        return f"{name} {tensor.dtype} ({shape})"

    outputs = ", ".join(tensor(name, value) for name, value in network.output.items())
    return f"{tensor('images', network.inputs[0])} -> {outputs}"


if __name__ == "__main__":
    main(sys.argv[1])
