"""The TensorFlow process that writes the SavedModel: `python -m keras_seg.export.worker JOB.json`.

It runs with `KERAS_BACKEND=tensorflow` whatever backend the caller has, so one path serves every backend,
and without accelerators, whose memory the caller's process may hold. The job is a JSON object: `model` (a
`.keras` file), `modules` (imported first: they register the model's layers), `rules` (of `sizes.SizeRule`,
height and width), `classes` (content of the asset), `weights` (how they are stored) and `folder` (the
SavedModel's). Prints the signatures as JSON.
"""

import importlib
import json
import sys
from pathlib import Path

import keras


def main(job_file):
    import tensorflow as tf

    from keras_seg.export.signatures import build_module, describe, write_classes
    from keras_seg.export.sizes import SizeRule
    from keras_seg.ops.fast import for_export

    job_file = Path(job_file)
    job = json.loads(job_file.read_text(encoding="utf-8"))
    for module in job["modules"]:
        importlib.import_module(module)
    # Not safe mode: the caller's process has run this very model, its Lambda layers included.
    model = keras.models.load_model(job["model"], compile=False, safe_mode=False)
    classes_file = job_file.with_name("classes.json")
    write_classes(classes_file, job["classes"])
    with for_export():
        module, signatures = build_module(
            model,
            [SizeRule(**rule) for rule in job["rules"]],
            classes_file,
            score_threshold=job["score_threshold"],
            weights=job["weights"],
        )
    # Gradient functions would only make the file larger: it is for inference.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, job["folder"], signatures=signatures, options=options)
    print(json.dumps(describe(signatures)))


if __name__ == "__main__":
    main(sys.argv[1])
