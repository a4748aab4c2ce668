"""Load on TF Serving, or `keras-seg serve`, over REST: requests per second, latencies, and what was refused.

    pip install aiohttp
    python load.py --url http://localhost:8501/v1/models/cells photo.png --concurrency 32 --seconds 30
    python load.py --url http://localhost:8501/v1/models/cells photo.png --rate 200 --seconds 30

With --concurrency so many clients ask, each again as soon as it is answered. With --rate requests start at
that rate whether earlier ones are answered or not: more than the server can take shows how it refuses.
"""

import argparse
import asyncio
import base64
import collections
import json
import sys
import time
from pathlib import Path

import aiohttp


class Load:
    """Sends one request again and again and counts.

    Attributes:
        in_time: int. Answers of 200 that came while the load lasted, not after it.
        seconds: list of float. Latencies of what was answered with 200.
        refused: list of float. Latencies of 503.
        codes: counter of HTTP status, or name of the client's error.
        wrong: int. Answers of 200 that differ from the first one.
    """

    def __init__(self, url, body, timeout):
        self._url, self._body = f"{url}:predict", body
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._first = None
        self.seconds, self.refused, self.codes, self.wrong = [], [], collections.Counter(), 0
        self.in_time, self._until = 0, float("inf")

    async def ask(self, session):
        started = time.perf_counter()
        try:
            headers = {"Content-Type": "application/json"}
            async with session.post(
                self._url, data=self._body, headers=headers, timeout=self._timeout
            ) as answer:
                content, status = await answer.read(), answer.status
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            self.codes[type(error).__name__] += 1
            return
        self.codes[status] += 1
        took = time.perf_counter() - started
        if status == 200:
            self.seconds.append(took)
            self.in_time += time.perf_counter() <= self._until
            self._first = self._first or content
            self.wrong += content != self._first
        elif status == 503:
            self.refused.append(took)

    async def closed(self, session, concurrency, seconds):
        """`concurrency` clients, each with one request at a time."""
        self._until = time.perf_counter() + seconds

        async def client():
            while time.perf_counter() < self._until:
                await self.ask(session)

        await asyncio.gather(*(client() for _ in range(concurrency)))

    async def open(self, session, rate, seconds):
        """`rate` requests per second, whatever happens to them."""
        started, tasks = time.perf_counter(), set()
        self._until = started + seconds
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(started + number / rate - time.perf_counter(), 0))
            task = asyncio.create_task(self.ask(session))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)


async def run(arguments):
    image = base64.b64encode(arguments.image.read_bytes()).decode()
    instances = [{"image_bytes": {"b64": image}}] * arguments.images
    body = json.dumps({"signature_name": "serve_bytes", "instances": instances}).encode()
    load = Load(arguments.url, body, arguments.timeout)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        if arguments.rate:
            await load.open(session, arguments.rate, arguments.seconds)
        else:
            await load.closed(session, arguments.concurrency, arguments.seconds)
        return summarize(load, arguments.seconds, arguments.images)


def summarize(load, seconds, images):
    ordered, refused = sorted(load.seconds), sorted(load.refused)

    def quantile(values, share):
        return values[min(int(share * len(values)), len(values) - 1)] if values else None

    return {
        "requests": sum(load.codes.values()),
        "codes": {str(code): count for code, count in sorted(load.codes.items(), key=str)},
        "answered_per_second": load.in_time / seconds,
        "images_per_second": images * load.in_time / seconds,
        "p50": quantile(ordered, 0.5),
        "p99": quantile(ordered, 0.99),
        "refused_p99": quantile(refused, 0.99),
        "wrong": load.wrong,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path, help="PNG or JPEG file that is sent")
    parser.add_argument("--url", default="http://localhost:8501/v1/models/cells")
    parser.add_argument("--images", type=int, default=1, help="images in one request")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rate", type=float, help="requests per second, instead of --concurrency")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--timeout", type=float, default=60, help="of one request, seconds")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = asyncio.run(run(arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))

    def milliseconds(value):
        return "-" if value is None else f"{1000 * value:.0f} ms"

    print(f"{figures['requests']} requests: {figures['codes']}")
    print(
        f"{figures['answered_per_second']:.1f} answered per second, p50 {milliseconds(figures['p50'])}, "
        f"p99 {milliseconds(figures['p99'])}; refused within {milliseconds(figures['refused_p99'])}; "
        f"{figures['wrong']} answers unlike the first"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
