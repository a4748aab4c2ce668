"""A small SavedModel with the signatures of `export_model`, a server of it in a thread, and a client."""

import asyncio
import base64
import contextlib
import http.client
import io
import json
import threading

import numpy as np
from PIL import Image

CLASSES = [
    {"id": 0, "name": "background", "color": [0, 0, 0]},
    {"id": 1, "name": "red", "color": [200, 30, 30]},
    {"id": 2, "name": "green", "color": [30, 200, 30]},
    {"id": 3, "name": "blue", "color": [30, 30, 200]},
]


def write_toy(folder, scale=1.0):
    """Write a version: the class of a pixel is its strongest channel, or 0 where all three are dark."""
    import tensorflow as tf

    def logits_of(images):
        dark = 40.0 * tf.ones_like(images[..., :1])
        return scale * tf.concat([dark, tf.cast(images, tf.float32)], axis=-1)

    def arrays(images):
        logits = logits_of(images)
        return {"logits": logits, "classes": tf.argmax(logits, axis=-1, output_type=tf.int32)}

    def encoded(image_bytes):
        def segment(file):
            image = tf.ensure_shape(tf.io.decode_image(file, 3, expand_animations=False), (None, None, 3))
            classes = tf.argmax(logits_of(tf.cast(image, tf.float32)), axis=-1)
            return tf.io.encode_png(tf.cast(classes, tf.uint8)[..., None])

        return {"mask_bytes": tf.map_fn(segment, image_bytes, fn_output_signature=tf.string)}

    images = {
        dtype: tf.TensorSpec((None, None, None, 3), dtype, name="images") for dtype in ("float32", "uint8")
    }
    functions = {
        "serving_default": (arrays, images["float32"]),
        "serving_uint8": (lambda images: arrays(tf.cast(images, tf.float32)), images["uint8"]),
        "serve_bytes": (encoded, tf.TensorSpec((None,), tf.string, name="image_bytes")),
    }
    signatures = {
        name: tf.function(function, autograph=False).get_concrete_function(spec)
        for name, (function, spec) in functions.items()
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "classes.json").write_text(json.dumps({"classes": CLASSES}))
    return folder


def expected_classes(image):
    """What the toy answers for a uint8 image (h, w, 3)."""
    return np.concatenate([np.full((*image.shape[:2], 1), 40), image.astype(int)], axis=-1).argmax(-1)


def drawn(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype="uint8")


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def decoded(b64):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(b64))))


def bytes_request(*files):
    """Body that asks `serve_bytes` about encoded images."""
    instances = [{"image_bytes": {"b64": base64.b64encode(file).decode()}} for file in files]
    return json.dumps({"signature_name": "serve_bytes", "instances": instances}).encode()


@contextlib.contextmanager
def running(models, limits=None, poll_seconds=0):
    """Serve in a thread; gives the port."""
    from aiohttp import web

    from keras_seg.serving import make_application

    loop = asyncio.new_event_loop()
    application = make_application(models, limits, poll_seconds)
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait_for(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    async def start():
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    try:
        wait_for(start())
        yield runner.addresses[0][1]
    finally:
        wait_for(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def ask(port, path, body=None, method=None, headers=None, timeout=60):
    """(status, JSON or text) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json and text else text
