"""`keras-seg serve` under load, beside the bare model: throughput, latencies, overload, memory.

    python -m benchmarks.serving served/cells photo.png
    python -m benchmarks.serving served/cells photo.png --seconds 20 --overload-seconds 600

The bare model is `serve_bytes` of the SavedModel, called in a loop with batches of the server's size, in a
process of its own. Server and load run in a process each, on the same machine, so the load's own work is in
the figures. Processor time for an image is given too: what else the machine does changes it less. Aims: 90 %
of the bare model's rate at saturation; at four times that rate nothing but 200 and 503, and memory that does
not grow.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.timing import write_results

_ROOT = Path(__file__).parents[1]
_LOAD = _ROOT / "examples" / "serving" / "load.py"
_BARE = """
import sys, time
sys.modules["keras"] = None
import tensorflow as tf
folder, image, batch, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
serve = tf.saved_model.load(folder).signatures["serve_bytes"]
images = tf.constant([open(image, "rb").read()] * batch)
for _ in range(3):
    serve(image_bytes=images)["mask_bytes"].numpy()
count, started, used = 0, time.perf_counter(), time.process_time()
while time.perf_counter() - started < seconds:
    serve(image_bytes=images)["mask_bytes"].numpy()
    count += batch
print(count / (time.perf_counter() - started), (time.process_time() - used) / count)
"""


def main():
    arguments = _parse()
    version = max((p for p in arguments.folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
    results = {}
    # Before and after: what else the machine does changes.
    bare = [_bare(version, arguments)]
    with _Server(arguments) as (process, url):
        _load(url, arguments.image, "--concurrency", "8", "--seconds", "3")  # warm
        clients = str(2 * arguments.batch_size)
        used = _processor_seconds(process)
        saturated = _load(url, arguments.image, "--concurrency", clients, "--seconds", str(arguments.seconds))
        used = (_processor_seconds(process) - used) / max(saturated["codes"].get("200", 0), 1)
        results["saturated"] = saturated | {"processor_seconds_per_image": used}
        bare.append(_bare(version, arguments))  # the server has nothing to do meanwhile
        rate, alone = (sum(values) / len(bare) for values in zip(*bare, strict=True))
        results["bare"] = [{"images_per_second": r, "processor_seconds_per_image": s} for r, s in bare]
        results["share"] = saturated["images_per_second"] / rate
        print(f"bare model: {bare[0][0]:.1f} and {bare[1][0]:.1f} images/s, before and after")
        _show(f"saturated, {clients} clients", saturated)
        print(f"  share of the bare model's rate: {results['share']:.2f} (aim 0.90)")
        print(
            f"  processor time for an image: {1000 * alone:.0f} ms of the bare model, {1000 * used:.0f} ms "
            f"of the server, of which the model's is {alone / used:.2f}"
        )
        with _Memory(process) as memory:
            overload = _load(
                url,
                arguments.image,
                "--rate",
                str(4 * saturated["answered_per_second"]),
                "--seconds",
                str(arguments.overload_seconds),
            )
        results["overload"] = overload
        results["memory"] = memory.samples
        _show(f"four times the rate, {arguments.overload_seconds:.0f} s", overload)
        memory.show()
        process.terminate()
        results["exit_status"] = process.wait(90)
    other = set(overload["codes"]) - {"200", "503"}
    print(f"  answers that are neither 200 nor 503: {other or 'none'}; exit status {results['exit_status']}")
    if arguments.json:
        write_results(arguments.json, results)
        print(f"written to {arguments.json}")
    return bool(other or overload["wrong"])


def _parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what `keras-seg export` wrote")
    parser.add_argument("image", type=Path, help="PNG or JPEG that is sent")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15, help="of the bare model and at saturation")
    parser.add_argument("--overload-seconds", type=float, default=30)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _bare(version, arguments):
    """(images per second, seconds of processor time for an image) of the SavedModel alone."""
    values = (version, arguments.image, arguments.batch_size, arguments.seconds)
    command = [sys.executable, "-c", _BARE, *map(str, values)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rate, seconds = done.stdout.split()[-2:]
    return float(rate), float(seconds)


def _processor_seconds(process):
    times = process.cpu_times()
    return times.user + times.system


class _Server:
    """`keras-seg serve` as a process; gives (psutil.Popen, the model's URL)."""

    def __init__(self, arguments):
        command = [sys.executable, "-m", "keras_seg", "serve", f"m={arguments.folder}", "--port", "0"]
        command += ["--batch-images", str(arguments.batch_size)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = psutil.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)

    def __enter__(self):
        line = self._process.stdout.readline()
        return self._process, line.strip().removesuffix(":predict")

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class _Memory:
    """The server's resident memory, once a second."""

    def __init__(self, process):
        self.samples, self._process, self._over = [], process, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._over.wait(1):
            self.samples.append(self._process.memory_info().rss / 1e6)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def show(self):
        tenth = max(len(self.samples) // 10, 1)
        # The first tenth fills buffers.
        early, late = self.samples[tenth : 2 * tenth] or self.samples, self.samples[-tenth:]
        print(
            f"  server's memory, MB: {sum(early) / len(early):.0f} in the second tenth of that time, "
            f"{sum(late) / len(late):.0f} in the last, {max(self.samples):.0f} at most"
        )


def _load(url, image, *options):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, str(_LOAD), str(image), "--url", url, *options, "--json", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(file.read_text())


def _show(title, figures):
    def milliseconds(key):
        return "-" if figures[key] is None else f"{1000 * figures[key]:.0f} ms"

    print(f"{title}: {figures['codes']}, {figures['wrong']} answers unlike the first")
    print(
        f"  {figures['images_per_second']:.1f} images/s, p50 {milliseconds('p50')}, p99 "
        f"{milliseconds('p99')}; refused within {milliseconds('refused_p99')} (p99)",
        flush=True,
    )


if __name__ == "__main__":
    started = time.perf_counter()
    failed = main()
    print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(failed)
