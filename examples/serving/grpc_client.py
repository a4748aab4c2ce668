"""Masks of image files from TF Serving over gRPC: in batches, with deadlines and retries.

pip install tensorflow-serving-api
python grpc_client.py --target localhost:8500 --model cells photos/*.png --out masks
"""

import argparse
import sys
import time
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

# Arrays of large images are larger than gRPC's 4 MB.
_OPTIONS = [("grpc.max_receive_message_length", 256 << 20), ("grpc.max_send_message_length", 256 << 20)]
# What may work a moment later: too much load, or a server that is starting.
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


def predict(stub, model, files, timeout, retries=5):
    """PNG class maps, a list of bytes, for a list of encoded images of any sizes."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serve_bytes"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files, dtype=tf.string))
    # What is not named here is neither computed nor sent.
    request.output_filter.append("mask_bytes")
    for attempt in range(retries + 1):
        try:
            answer = stub.Predict(request, timeout=timeout)
            return list(tf.make_ndarray(answer.outputs["mask_bytes"]))
        except grpc.RpcError as error:
            if error.code() in _RETRIED and attempt < retries:
                time.sleep(0.5 * 2**attempt)
                continue
            raise SystemExit(f"{error.code().name}: {error.details()}") from error
    raise AssertionError("unreachable")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, help="PNG or JPEG files")
    parser.add_argument("--target", default="localhost:8500", help="host and port of TF Serving's gRPC")
    parser.add_argument("--model", default="cells")
    parser.add_argument("--out", type=Path, default=Path("masks"), help="folder for NAME.png")
    parser.add_argument("--batch-size", type=int, default=8, help="images in one request")
    parser.add_argument("--timeout", type=float, default=30, help="seconds to wait for an answer")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with grpc.insecure_channel(arguments.target, options=_OPTIONS) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for start in range(0, len(arguments.images), arguments.batch_size):
            paths = arguments.images[start : start + arguments.batch_size]
            files = [path.read_bytes() for path in paths]
            masks = predict(stub, arguments.model, files, arguments.timeout)
            for path, mask in zip(paths, masks, strict=True):
                (arguments.out / f"{path.stem}.png").write_bytes(mask)
                print(arguments.out / f"{path.stem}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
