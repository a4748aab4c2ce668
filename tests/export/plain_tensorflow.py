"""Run as a process of its own by the tests: what a server without Keras sees of an exported folder.

`python plain_tensorflow.py FOLDER QUESTIONS.npz ANSWERS.npz` writes arrays and, as JSON in `facts`, the ops
of the graph and the signatures as TensorFlow 1's loader finds them.
"""

import json
import sys
from pathlib import Path

# None makes an import fail; it has to come before TensorFlow's.
sys.modules["keras"] = sys.modules["keras_seg"] = None

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

folder, questions_file, answers_file = sys.argv[1:]
questions = np.load(questions_file)
saved_model = saved_model_pb2.SavedModel.FromString(Path(folder, "saved_model.pb").read_bytes())
graph_def = saved_model.meta_graphs[0].graph_def
nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
functions = {function.signature.name for function in graph_def.library.function}

with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    default = meta_graph.signature_def["serving_default"]
    logits = session.run(default.outputs["logits"].name, {default.inputs["images"].name: questions["images"]})
    encoded = meta_graph.signature_def["serve_bytes"]
    masks = session.run(
        encoded.outputs["mask_bytes"].name,
        {encoded.inputs["image_bytes"].name: [questions["png"].tobytes()]},
    )
    facts = {
        "ops": sorted({node.op for node in nodes} - functions),
        "signatures": {
            name: [
                {key: tf.dtypes.as_dtype(info.dtype).name for key, info in side.items()}
                for side in (definition.inputs, definition.outputs)
            ]
            for name, definition in meta_graph.signature_def.items()
            if not name.startswith("__")
        },
    }
np.savez(answers_file, logits=logits, mask=np.frombuffer(masks[0], "uint8"), facts=json.dumps(facts))
