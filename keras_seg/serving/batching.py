"""Micro-batching: while the model works on some requests, those that arrive meanwhile are run together next.

No request waits for others to come: one that finds the model idle is run at once. Batches grow by themselves
as the load does.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
import time

import numpy as np

from keras_seg.serving.errors import RequestError, invalid, unavailable


@dataclasses.dataclass
class _Waiting:
    """A request in the queue.

    Attributes:
        signature: Signature to run.
        key: hashable. Requests of equal keys can be run together; None can't with any.
        inputs: dict of name to array, batch first.
        images: int. Length of the batch axis.
        pixels: int. Of all its images.
        answer: asyncio.Future of a dict of name to array.
    """

    signature: object
    key: object
    inputs: dict
    images: int
    pixels: int
    answer: asyncio.Future


class MicroBatcher:
    """Runs the requests of one model, in order, together where their shapes allow it.

    Args:
        limits: Limits.
        metrics: Metrics.
        name: str. The model's, for the metrics.
    """

    def __init__(self, limits, metrics, name):
        self._limits = limits
        self._metrics = metrics
        self._name = name
        self._queue = collections.deque()
        self._arrived = asyncio.Event()
        # One run at a time: TensorFlow spreads one over all cores, and memory is that of one.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"model-{name}")
        self._task = asyncio.create_task(self._work())

    async def submit(self, signature, inputs, pixels):
        """Run `signature` on `inputs`, perhaps with others' requests.

        Args:
            signature: Signature, of `keras_seg.serving.servables`.
            inputs: dict of name to array.
            pixels: int. Of all images of the request.

        Returns:
            dict of name to array.

        Raises:
            RequestError: 503 where too many wait, 400 where the model refuses the inputs.
        """
        images = max((len(array) for array in inputs.values() if array.ndim), default=1)
        waiting = sum(item.images for item in self._queue)
        if waiting + images > self._limits.waiting_images:
            raise unavailable(f"{waiting} images wait for the model already. Try again later.")
        answer = asyncio.get_running_loop().create_future()
        item = _Waiting(signature, signature.batch_key(inputs), inputs, images, pixels, answer)
        self._queue.append(item)
        self._count()
        self._arrived.set()
        return await answer

    async def close(self):
        """Stop; what still waits is answered with 503."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for item in self._queue:
            _settle(item.answer, error=unavailable("The server is stopping."))
        self._thread.shutdown(wait=True)

    async def _work(self):
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take()
            if batch:
                await loop.run_in_executor(self._thread, self._run, batch, loop)
            if not self._queue:
                self._arrived.clear()

    def _take(self):
        """The longest-waiting request and those that can be run with it, as many as the limits allow."""
        batch, passed = [], collections.deque()
        images = pixels = 0
        while self._queue:
            item = self._queue.popleft()
            if item.answer.done():  # the client has gone, or its time is over
                continue
            fits = not batch or (
                item.key is not None
                and item.key == batch[0].key
                and images + item.images <= self._limits.batch_images
                and pixels + item.pixels <= self._limits.batch_pixels
            )
            if fits:
                batch.append(item)
                images, pixels = images + item.images, pixels + item.pixels
            else:
                passed.append(item)
        self._queue = passed
        self._count()
        return batch

    def _run(self, batch, loop):
        """In the model's thread: answer every request of `batch`, alone those that fail together."""
        started = time.perf_counter()
        answers = _answer(batch)
        if isinstance(answers[0], Exception) and len(batch) > 1:
            # One may have spoilt it for the others.
            answers = [_answer([item])[0] for item in batch]
        self._metrics.batch_seconds.labels(self._name).observe(time.perf_counter() - started)
        self._metrics.batch_images.labels(self._name).observe(sum(item.images for item in batch))
        loop.call_soon_threadsafe(_settle_all, batch, answers)

    def _count(self):
        self._metrics.waiting.labels(self._name).set(sum(item.images for item in self._queue))


def _answer(batch):
    """Outputs for each request of `batch`, or for each the error; whatever is raised, the server goes on."""
    try:
        return _run_together(batch)
    except RequestError as error:
        return [error] * len(batch)
    except Exception as error:
        return [RequestError(500, f"The model failed: {str(error)[:500]}")] * len(batch)


def _run_together(batch):
    if len(batch) == 1:
        return [batch[0].signature.run(batch[0].inputs)]
    inputs = {name: np.concatenate([item.inputs[name] for item in batch]) for name in batch[0].inputs}
    outputs = batch[0].signature.run(inputs)
    total = sum(item.images for item in batch)
    if any(array.shape[:1] != (total,) for array in outputs.values()):
        # An output without the batch's axis cannot be taken apart.
        raise invalid("The model's outputs have another batch size than its inputs.")
    ends = np.cumsum([item.images for item in batch])
    return [
        {name: array[end - item.images : end] for name, array in outputs.items()}
        for item, end in zip(batch, ends, strict=True)
    ]


def _settle_all(batch, answers):
    for item, answer in zip(batch, answers, strict=True):
        if isinstance(answer, Exception):
            _settle(item.answer, error=answer)
        else:
            _settle(item.answer, result=answer)


def _settle(future, result=None, error=None):
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
