"""Masks of image files from TF Serving, or `keras-seg serve`, over REST: batches, time-outs and retries.

    python rest_client.py --url http://localhost:8501/v1/models/cells photos/*.png --out masks

Needs nothing but Python.
"""

import argparse
import base64
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def predict(url, files, timeout, retries=5):
    """PNG class maps, a list of bytes, for a list of encoded images of any sizes.

    A server that has too much to do says 503: the same request is sent again after a pause that doubles.
    """
    instances = [{"image_bytes": {"b64": base64.b64encode(file).decode()}} for file in files]
    body = json.dumps({"signature_name": "serve_bytes", "instances": instances}).encode()
    request = urllib.request.Request(f"{url}:predict", body, {"Content-Type": "application/json"})
    for attempt in range(retries + 1):
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                predictions = json.load(answer)["predictions"]
            return [base64.b64decode(prediction["b64"]) for prediction in predictions]
        except urllib.error.HTTPError as error:
            if error.code == 503 and attempt < retries:
                time.sleep(0.5 * 2**attempt)
                continue
            message = json.load(error).get("error", error.reason)
            raise SystemExit(f"{url} answered {error.code}: {message}") from error
        except (TimeoutError, urllib.error.URLError) as error:
            raise SystemExit(f"{url} does not answer: {error}") from error
    raise AssertionError("unreachable")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path, help="PNG or JPEG files")
    parser.add_argument("--url", default="http://localhost:8501/v1/models/cells")
    parser.add_argument("--out", type=Path, default=Path("masks"), help="folder for NAME.png")
    parser.add_argument("--batch-size", type=int, default=8, help="images in one request")
    parser.add_argument("--timeout", type=float, default=30, help="seconds to wait for an answer")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(arguments.images), arguments.batch_size):
        paths = arguments.images[start : start + arguments.batch_size]
        masks = predict(arguments.url, [path.read_bytes() for path in paths], arguments.timeout)
        for path, mask in zip(paths, masks, strict=True):
            (arguments.out / f"{path.stem}.png").write_bytes(mask)
            print(arguments.out / f"{path.stem}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
