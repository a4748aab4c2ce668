"""Asks an exported file by its own runtime: `python runtime_client.py FORMAT FILE QUESTIONS.npz ANSWERS.npz`.

Run as a file, never imported, with Keras and TensorFlow shut out. Questions are float32 arrays `batch_I`;
answers are `file_I_logits` and `file_I_classes`. The word "go" on standard input starts the work: the imports
are done while the file is still being made.
"""

import sys


def main(format, file, questions_file, answers_file):
    # None makes an import fail.
    sys.modules["keras"] = sys.modules["keras_seg"] = sys.modules["tensorflow"] = None
    import numpy as np

    open_file = {"onnx": _open_onnx, "openvino": _open_openvino, "litert": _open_litert}[format]
    if sys.stdin.readline().strip() != "go":
        return
    ask = open_file(file)
    answers = {}
    with np.load(questions_file) as questions:
        for key in questions.files:
            outputs = ask(questions[key].astype("float32"))
            for name in ("logits", "classes"):
                answers[f"file_{key.removeprefix('batch_')}_{name}"] = outputs[name]
    np.savez(answers_file, **answers)


def _open_onnx(file):
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = ("logits", "classes")
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def _open_openvino(file):
    import openvino

    # Its default on processors with AMX or AVX-512 BF16 is to compute in bfloat16.
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def ask(images):
        outputs = compiled({"images": images})
        return {name: outputs[name] for name in ("logits", "classes")}

    return ask


def _open_litert(file):
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=file).get_signature_runner()

    def ask(images):
        # The file takes one image at a time.
        answers = [runner(images=image[None]) for image in images]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in ("logits", "classes")}

    return ask


if __name__ == "__main__":
    main(*sys.argv[1:])
