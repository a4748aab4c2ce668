"""The HTTP side: TF Serving's REST paths, metrics and the page, over aiohttp."""

import asyncio
import concurrent.futures
import logging
import re
import time
from pathlib import Path

import numpy as np

from keras_seg.serving.batching import MicroBatcher
from keras_seg.serving.errors import RequestError, invalid, not_found, unavailable
from keras_seg.serving.image_headers import check_image
from keras_seg.serving.json_tensors import parse_request, read_tensors, write_tensors
from keras_seg.serving.limits import Limits
from keras_seg.serving.metrics import Metrics
from keras_seg.serving.servables import DEFAULT_SIGNATURE, Servable
from keras_seg.utils.optional import import_optional
from keras_seg.utils.validation import bad_argument

_LOG = logging.getLogger(__name__)
_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:(classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+))?(?:/(metadata))?", re.IGNORECASE)
_PAGE = Path(__file__).with_name("page")
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
# The page takes scripts and pictures from this server alone.
_PAGE_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"


def make_application(models, limits=None, poll_seconds=5.0):
    """An `aiohttp.web.Application` that serves exported models.

    Args:
        models: dict of name to folder, as `keras_seg.export.export_model` has written it. The newest version
            of each answers.
        limits: Limits, or None for the defaults.
        poll_seconds: float. How often the folders are looked at for newer versions; 0 never.

    Returns:
        aiohttp.web.Application, for `aiohttp.web.run_app`.

    Raises:
        ValueError: a folder has no version, or a name cannot stand in a path.
        ImportError: the extra `serve` is not installed.
    """
    web = import_optional("aiohttp.web", "The server", "serve")
    limits = limits or Limits()
    bad = [name for name in models if not re.fullmatch(r"[^/:\s]+", name)]
    if bad or not models:
        raise bad_argument("models", "names without slash, colon and space, one or more", list(models))
    server = _Server(web, models, limits, poll_seconds)
    # A client that has gone takes its request out of the queue: `handler_cancellation` of `run_app`.
    application = web.Application(client_max_size=limits.body_bytes)
    application.router.add_route("*", "/{path:.*}", server.handle)
    application.cleanup_ctx.append(server.life)
    return application


class _Server:
    """What all requests share."""

    def __init__(self, web, models, limits, poll_seconds):
        self._web = web
        self._limits = limits
        self._poll_seconds = poll_seconds
        self._metrics = Metrics()
        self._servables = {name: Servable(name, folder, limits) for name, folder in models.items()}
        self._batchers = {}
        self._body_bytes = 0
        # JSON and base64 of large bodies take long: not in the event loop's thread.
        self._codec = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="json")

    async def life(self, application):
        """Start the queues and the look-out for new versions; stop them after the last answer."""
        for name, servable in self._servables.items():
            self._batchers[name] = MicroBatcher(self._limits, self._metrics, name)
            self._metrics.version.labels(name).set(servable.version.number)
        look_out = asyncio.create_task(self._look_out()) if self._poll_seconds else None
        yield
        if look_out:
            look_out.cancel()
            await asyncio.gather(look_out, return_exceptions=True)
        for batcher in self._batchers.values():
            await batcher.close()
        self._codec.shutdown(wait=False)

    async def handle(self, request):
        """Answer any request; whatever goes wrong becomes TF Serving's `{"error": ...}`."""
        started = time.perf_counter()
        model, method = "", "none"
        try:
            model, method, response = await self._route(request)
        except RequestError as error:
            response = self._error(error.status, error.message)
            if request.content.exception() is not None:
                # What follows on this connection cannot be told from the rest of the broken body.
                response.force_close()
            model, method = _labels(request, self._servables)
        except self._web.HTTPException as error:
            # aiohttp's own: a body beyond the limit, a content encoding that it cannot undo.
            response = self._error(error.status, error.text or error.reason)
        except asyncio.CancelledError:
            raise
        except Exception:
            _LOG.exception("A request failed.")
            response = self._error(500, "Internal error; the server's log has more.")
        self._metrics.requests.labels(model, method, response.status).inc()
        if method == "predict":
            self._metrics.seconds.labels(model).observe(time.perf_counter() - started)
        return response

    async def _route(self, request):
        path = request.path
        if request.method == "POST" and (match := _PREDICT.fullmatch(path)):
            name, number, verb = match.groups()
            servable = self._servable(name, "Servable not found for request: " + _wanted(name, number))
            version = servable.get(None if number is None else int(number))
            if verb.lower() != "predict":
                raise invalid(f"This model has no signature for {verb.lower()}; use :predict.")
            return servable.name, "predict", await self._predict(request, servable.name, version)
        if request.method in ("GET", "HEAD"):
            if match := _STATUS.fullmatch(path):
                name, number, metadata = match.groups()
                if name is None:
                    raise invalid("Missing model name in request.")
                number = None if number is None else int(number)
                servable = self._servable(name, f"Could not find any versions of model {name}")
                content = servable.metadata(number) if metadata else servable.status(number)
                return servable.name, "metadata" if metadata else "status", self._json(content)
            if path in ("/metrics", "/monitoring/prometheus/metrics"):
                headers = {"Content-Type": self._metrics.content_type}
                return "", "none", self._web.Response(body=self._metrics.render(), headers=headers)
            if path == "/page/models":
                return "", "none", self._json(self._describe())
            if path in _PAGE_FILES:
                return "", "none", self._page(path)
        raise invalid(f"Malformed request: {request.method} {path[:200]}")

    async def _predict(self, request, name, version):
        limits = self._limits
        expected = request.content_length or 0
        if expected > limits.body_bytes:
            raise RequestError(413, f"The body has {expected} bytes; at most {limits.body_bytes} are taken.")
        # Without a length, in chunks or compressed, it may become as large as is allowed.
        plain = request.content_length is not None and "Content-Encoding" not in request.headers
        reserved = expected if plain else limits.body_bytes
        if self._body_bytes + reserved > max(limits.body_bytes_in_flight, limits.body_bytes):
            raise unavailable("The server is reading as much as it can hold. Try again later.")
        # Until the answer: what waits for the model holds the memory of its images.
        self._body_bytes += reserved
        try:
            body = await self._read(request)
            loop = asyncio.get_running_loop()
            read = loop.run_in_executor(self._codec, _read_inputs, body, version, limits)
            signature, layout, inputs, pixels = await read
            del body
            answer = self._batchers[name].submit(signature, inputs, pixels)
            outputs = await asyncio.wait_for(answer, limits.answer_seconds)
        except asyncio.TimeoutError as error:
            raise RequestError(504, f"No answer within {limits.answer_seconds} s.") from error
        finally:
            self._body_bytes -= reserved
        written = await loop.run_in_executor(
            self._codec, write_tensors, outputs, layout, limits.response_values
        )
        return self._web.Response(body=written, content_type="application/json")

    async def _read(self, request):
        seconds = self._limits.read_seconds
        try:
            return await asyncio.wait_for(request.read(), seconds)
        except asyncio.TimeoutError as error:
            raise RequestError(408, f"The body did not arrive within {seconds} s.") from error
        except self._web.RequestPayloadError as error:
            # Compressed and broken, or cut off. There is no more to come: else aiohttp would read on.
            request.content.feed_eof()
            raise invalid(f"The body cannot be read: {error}") from error

    def _servable(self, name, message):
        if name not in self._servables:
            raise not_found(message)
        return self._servables[name]

    def _describe(self):
        """For the page: the models and their classes."""
        return {
            "models": [
                {
                    "name": name,
                    "version": servable.version.number,
                    "signatures": sorted(servable.version.signatures),
                    "classes": servable.version.classes,
                }
                for name, servable in self._servables.items()
            ]
        }

    async def _look_out(self):
        """Load newer versions as they appear, in a thread of its own so that requests go on meanwhile."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._poll_seconds)
            for name, servable in self._servables.items():
                try:
                    if await loop.run_in_executor(None, servable.reload):
                        self._metrics.version.labels(name).set(servable.version.number)
                        _LOG.info("%s: version %d answers now", name, servable.version.number)
                except Exception:
                    # A version that cannot be loaded must not take down the one that answers.
                    _LOG.exception("%s: a newer version could not be loaded", name)

    def _page(self, path):
        file, content_type = _PAGE_FILES[path]
        headers = {"Content-Security-Policy": _PAGE_POLICY, "X-Content-Type-Options": "nosniff"}
        text = (_PAGE / file).read_text(encoding="utf-8")
        return self._web.Response(text=text, content_type=content_type, headers=headers)

    def _json(self, content, status=200):
        return self._web.json_response(content, status=status)

    def _error(self, status, message):
        response = self._json({"error": message}, status)
        if status == 503:
            response.headers["Retry-After"] = "1"
        if status in (408, 413):
            # The rest of the body is not read.
            response.force_close()
        return response


def _read_inputs(body, version, limits):
    """(Signature, layout, arrays, pixels) of a request's body; in a thread of its own."""
    name, layout, value = parse_request(body)
    signature = version.signature(name or DEFAULT_SIGNATURE)
    inputs = read_tensors(value, layout, signature.inputs)
    signature.check(inputs)
    pixels = sum(_pixels(array, name, limits) for name, array in inputs.items())
    images = max((len(array) for array in inputs.values() if array.ndim), default=1)
    if images > limits.batch_images:
        raise invalid(f"{images} images in one request; at most {limits.batch_images} are taken.")
    if pixels > limits.batch_pixels:
        raise invalid(f"{pixels} pixels in one request; at most {limits.batch_pixels} are taken.")
    return signature, layout, inputs, pixels


def _pixels(array, name, limits):
    """How many pixels the network will see for an input; encoded images are checked on the way."""
    if array.dtype == object:
        if not name.endswith("_bytes"):
            return 0
        return int(sum(np.prod(check_image(encoded, limits)) for encoded in array.ravel()))
    if array.ndim != 4:
        return array.size
    if array.shape[1] * array.shape[2] > limits.image_pixels:
        raise invalid(
            f"Images of {array.shape[2]}x{array.shape[1]} pixels are larger than the {limits.image_pixels} "
            "that this server takes."
        )
    return int(np.prod(array.shape[:3]))


def _wanted(name, number):
    return f"Latest({name})" if number is None else f"Specific({name}, {number})"


def _labels(request, servables):
    """(model, method) for the metrics of a request that failed; unknown names share one label."""
    match = _PREDICT.fullmatch(request.path)
    if match is None or match.group(1) not in servables:
        return "", "none"
    return match.group(1), match.group(3).lower()
