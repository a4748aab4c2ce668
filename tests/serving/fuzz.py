"""Sends hostile bodies to a server and says what happened: `python -m tests.serving.fuzz`.

    python -m tests.serving.fuzz --bodies 10000

Starts `keras-seg serve` of the toy as a process of its own, sends the bodies one after another, asks a good
question in between, and watches the server's memory.
"""

import argparse
import collections
import dataclasses
import http.client
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.serving.hostile_bodies import hostile_bodies
from tests.serving.toy_server import ask, bytes_request, decoded, drawn, encoded, expected_classes, write_toy

PREDICT = "/v1/models/toy:predict"


@dataclasses.dataclass
class Report:
    """What the server did.

    Attributes:
        bodies: int. How many were sent.
        statuses: counter of (kind, HTTP status).
        failures: list of str: no 4xx, or a good request that was answered wrong.
        slowest: float. Seconds of the slowest answer.
    """

    bodies: int = 0
    statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failures: list = dataclasses.field(default_factory=list)
    slowest: float = 0.0


def fuzz(port, count, check_every=50, seed=0, after_each=None):
    """Send `count` hostile bodies, and a good request after every `check_every`.

    Args:
        port: int, of a server of the toy.
        count: int.
        check_every: int.
        seed: int.
        after_each: callable of the Report, or None.

    Returns:
        Report.
    """
    report = Report()
    image = drawn(12, 17)
    for kind, body, headers in hostile_bodies(count, seed):
        started = time.perf_counter()
        try:
            status, answer = ask(port, PREDICT, body, "POST", headers)
        except (OSError, http.client.HTTPException) as error:
            status, answer = repr(error), None
        report.slowest = max(report.slowest, time.perf_counter() - started)
        report.bodies += 1
        report.statuses[kind, status] += 1
        if not (isinstance(status, int) and 400 <= status < 500 and list(answer) == ["error"]):
            report.failures.append(f"{kind}: {status} {str(answer)[:200]} for {body[:200]!r}")
        if report.bodies % check_every == 0:
            status, answer = ask(port, PREDICT, bytes_request(encoded(image)))
            mask = decoded(answer["predictions"][0]["b64"]) if status == 200 else None
            if not np.array_equal(mask, expected_classes(image)):
                report.failures.append(f"a good request after {kind}: {status} {str(answer)[:200]}")
        if after_each:
            after_each(report)
    return report


def main():
    import psutil

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bodies", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    memory = []
    with tempfile.TemporaryDirectory() as scratch:
        write_toy(Path(scratch) / "toy" / "1")
        command = [sys.executable, "-m", "keras_seg", "serve", f"{scratch}/toy", "--port", "0"]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as server:
            try:
                port = int(server.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
                process = psutil.Process(server.pid)
                started = time.perf_counter()
                report = fuzz(
                    port,
                    arguments.bodies,
                    seed=arguments.seed,
                    after_each=lambda _: memory.append(process.memory_info().rss),
                )
                seconds = time.perf_counter() - started
            finally:
                server.terminate()
    print(f"{report.bodies} bodies in {seconds:.0f} s, slowest answer {report.slowest:.2f} s")
    kinds = sorted({kind for kind, _ in report.statuses})
    for kind in kinds:
        codes = {status: n for (name, status), n in report.statuses.items() if name == kind}
        print(f"  {kind:<18} {codes}")
    tenth = max(len(memory) // 10, 1)
    print(
        f"server's memory, MB: {np.mean(memory[:tenth]) / 1e6:.0f} over the first tenth, "
        f"{np.mean(memory[-tenth:]) / 1e6:.0f} over the last, {max(memory) / 1e6:.0f} at most"
    )
    for failure in report.failures[:20]:
        print("FAILED", failure)
    print(f"{len(report.failures)} failures")
    return bool(report.failures)


if __name__ == "__main__":
    sys.exit(main())
