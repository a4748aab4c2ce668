"""A client of the SavedModel without Keras: `python plain_client.py FOLDER QUESTIONS.npz ANSWERS.npz`.

Run as a file, never imported, so that keras_seg is not loaded, and with Keras shut out: what works here works
wherever TensorFlow does. Questions and answers are arrays: `batch_I` of images for `serving_default` and
`serving_uint8`, whose outputs come back as `SIGNATURE_I_OUTPUT`, except probabilities; and `bytes_I`, an
encoded image as uint8, all of which go to `serve_bytes` in one batch and come back as `OUTPUT_I`, without the
"_bytes" of its name, and as `OUTPUT_I_J` where an image has several. The word "go" on standard input starts
the work: the slow import of TensorFlow is done while the file is still being made.
"""

import sys


def main(folder, questions_file, answers_file):
    # None makes an import fail. TensorFlow imports Keras where it can, which also takes a second.
    sys.modules["keras"] = sys.modules["keras_seg"] = None
    import numpy as np
    import tensorflow as tf

    if sys.stdin.readline().strip() != "go":
        return
    served = tf.saved_model.load(folder).signatures
    questions = np.load(questions_file)
    answers = {}
    for key in (key for key in questions.files if key.startswith("batch_")):
        for name in ("serving_default", "serving_uint8"):
            dtype = served[name].structured_input_signature[1]["images"].dtype
            outputs = served[name](images=tf.constant(questions[key], dtype))
            for output in outputs.keys() - {"probabilities"}:
                answers[f"{name}_{key.removeprefix('batch_')}_{output}"] = outputs[output].numpy()
    encoded = [questions[key].tobytes() for key in questions.files if key.startswith("bytes_")]
    if "serve_bytes" in served:
        for output, values in served["serve_bytes"](image_bytes=tf.constant(encoded)).items():
            for place, value in _by_image(output.removesuffix("_bytes"), values.numpy()):
                answers[place] = np.frombuffer(value, "uint8") if isinstance(value, bytes) else value
    np.savez(answers_file, **answers)


def _by_image(output, values):
    """Yield (name, value) for each image, and for each string where it has several."""
    for i, value in enumerate(values):
        if getattr(value, "ndim", 0) and isinstance(value[0], bytes):
            yield from ((f"{output}_{i}_{j}", string) for j, string in enumerate(value))
        else:
            yield f"{output}_{i}", value


if __name__ == "__main__":
    main(*sys.argv[1:])
