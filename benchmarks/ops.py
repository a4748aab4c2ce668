"""keras_seg's ops beside torch and torchvision: times on each backend, and peak memory."""

import argparse
import contextlib
import functools
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.op_cases import CASES, FORWARD, MEMORY_AIM, MEMORY_CASE
from benchmarks.op_process import WorkerProcess
from benchmarks.op_tables import peak_heading, peak_line, summary, time_rows, time_table
from benchmarks.op_worker import CLOCKS, MODES
from benchmarks.timing import write_results
from keras_seg.utils.progress import progress_bar

EPILOG = """examples:
  python -m benchmarks.ops                                        everything
  python -m benchmarks.ops --ops roi_align nms --backends tensorflow --dtypes float32
  python -m benchmarks.ops --forms default --out ops.json
  python -m benchmarks.ops --quick --repeats 2                    tiny shapes: does it all run?
  python -m benchmarks.ops --memory --out memory.json             peak memory of RoIAlign instead of times

Each backend is one process with its default threads; the peer runs in that of the torch backend. They stay
up for the whole run and are asked in turn, so every round times all of them. Before an op is timed, its
result is compared with that of the peer, which runs in the layout (NCHW or channels_last) that is faster for
the op. "floor" is the time to move the op's inputs and outputs once at the rate of a large copy measured in
the same run. Aims are ratios to the peer on a CPU in float32. On a machine with an accelerator all of it runs
there.
The exit status is 1 where an op failed or disagreed with the peer.
"""


# "reuse": freed blocks stay with the process, which writes to them again, as PyTorch does on a GPU.
# "system": as the C library has it. On Linux it maps fresh pages for every result above 32 MiB, at a cost
# above that of most ops here, and for some workers more than for others, depending on what they ran before.
_ALLOCATORS = {
    "reuse": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_ARENA_MAX": "1"},
    "system": {},
}
# A second thread that waits for work by spinning would be counted as working.
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def main():
    arguments = _parse()
    rows = _memory(arguments) if arguments.memory else _times(arguments)
    if arguments.out:
        print(f"written to {arguments.out}")
    sys.exit(any("failed" in row and row["worker"] != "peer" for row in rows))


def _parse():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ops",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names, dtypes, forms = list(CASES), ["float32", "bfloat16"], ["default", "portable"]
    parser.add_argument("--ops", nargs="+", choices=names, default=names, metavar="OP", help=", ".join(names))
    parser.add_argument("--backends", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--dtypes", nargs="+", choices=dtypes, default=dtypes)
    parser.add_argument("--forms", nargs="+", choices=forms, default=forms)
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds; the median counts (default 7)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=20,
        help="what has taken longer than this is timed in fewer rounds, but 3 at least (default 20)",
    )
    parser.add_argument(
        "--allocator",
        choices=tuple(_ALLOCATORS),
        default="reuse",
        help="of the workers: one that keeps freed blocks (default), or the C library's settings",
    )
    parser.add_argument(
        "--clock",
        choices=tuple(CLOCKS),
        default="wall",
        help="wall time (default), or the processor time of all threads, which other programs disturb less; "
        "PyTorch then has one thread",
    )
    parser.add_argument("--quick", action="store_true", help="tiny shapes; the figures mean nothing")
    parser.add_argument("--memory", action="store_true", help="peak memory of RoIAlign, on the CPU")
    parser.add_argument("--out", metavar="JSON", help="write the results there, after each op")
    return parser.parse_args()


def _times(arguments):
    plan = [
        (op, dtype, work)
        for op in arguments.ops
        for dtype in (arguments.dtypes if CASES[op].features else ["float32"])
        for work in CASES[op].works
    ]
    rows = []
    with contextlib.ExitStack() as stack:
        load = _load()
        environment = _ALLOCATORS[arguments.allocator] | (_ONE_THREAD if arguments.clock != "wall" else {})
        workers = _start(stack, arguments.backends, environment)
        cells = _cells([name for name in workers if name != "peer"], arguments.forms)
        if "peer" in workers:
            cells.insert(0, ("peer", None, None))
        about, rate = _describe(workers)
        if arguments.clock != "wall":
            rate = None  # bytes in a second of wall time: no floor for another clock
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        progress = stack.enter_context(progress_bar())
        task = progress.add_task("", total=len(plan) * len(cells) * (1 + arguments.repeats))
        advance = functools.partial(progress.advance, task)
        for op, dtype, work in plan:
            progress.update(task, description=f"{op}, {work}, {dtype}")
            fields = {"op": op, "dtype": dtype, "work": work, "quick": arguments.quick}
            measured = _prepare(workers, cells, fields, folder / "expected.npz", advance)
            _rounds(workers, measured, arguments, advance)
            new = time_rows(measured, about, rate, op, dtype, work, arguments.quick)
            rows += new
            print(time_table(new), flush=True)
            if arguments.out:
                facts = {"workers": about, "copy_bytes_per_second": rate, "load_before": load}
                facts |= {
                    "quick": arguments.quick,
                    "allocator": arguments.allocator,
                    "clock": arguments.clock,
                }
                write_results(arguments.out, {**facts, "rows": rows})
    print(summary(rows))
    return rows


def _load():
    """What else the machine was doing in the last minute, in busy cores; None where it cannot tell."""
    if not hasattr(os, "getloadavg"):
        return None
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load {load:.1f}): these times are not those of an idle one", flush=True)
    return load


def _start(stack, backends, environment):
    """Dict of name to what asks that worker, without those whose packages are not installed."""
    together = ("peer", "torch") if "torch" in backends else ("peer",)
    workers = {}
    for names in (together, *((name,) for name in backends if name != "torch")):
        try:
            process = stack.enter_context(WorkerProcess(*names, environment=environment))
        except ModuleNotFoundError as error:
            print(f"{', '.join(names)}: skipped, {error}", flush=True)
        else:
            workers |= {name: functools.partial(process.ask, name) for name in names}
    return {name: workers[name] for name in ("peer", *backends) if name in workers}


def _describe(workers):
    """What each worker says of itself, and the rate of a copy; both printed."""
    about = {name: ask("describe") for name, ask in workers.items()}
    for name, facts in about.items():
        facts = f"{facts['packages']}; {facts['device']}; {facts['threads']} threads"
        print(f"{name:12}{facts}", flush=True)
    if "peer" not in workers:
        print("without torch there is no peer, no check of the results and no rate of a copy")
        return about, None
    rate = workers["peer"]("copy_rate")["bytes_per_second"]
    print(f"{'copy':12}{rate / 1e9:.1f} GB/s read and written, on the peer's device", flush=True)
    return about, rate


def _cells(backends, forms):
    """What is measured for each op: (worker, mode, form)."""
    return [(name, mode, form) for name in backends for mode in MODES[name] for form in forms]


def _prepare(workers, cells, fields, expected, advance):
    """Build an op everywhere and check it: dict of cell to the worker's reply and an empty "seconds" list."""
    unchecked = {"failed": "no peer"}
    if "peer" in workers:
        unchecked = workers["peer"]("answer", path=str(expected), **fields)
    measured = {}
    for cell in cells:
        name, mode, form = cell
        check = None if name == "peer" or "failed" in unchecked else str(expected)
        reply = workers[name]("prepare", cell=repr(cell), mode=mode, form=form, expected=check, **fields)
        if not reply.get("agrees", True):
            reply["failed"] = f"disagrees with the peer, error {reply['error']:.2g}"
        if name != "peer" and "failed" in unchecked:
            reply["unchecked"] = unchecked["failed"]
        measured[cell] = {**reply, "seconds": []}
        advance()
    return measured


def _rounds(workers, measured, arguments, advance):
    """Time all cells in turn, round after round, into their "seconds"."""
    for _ in range(arguments.repeats):
        for cell, known in measured.items():
            times = known["seconds"]
            if "failed" not in known and (len(times) < 3 or sum(times) < arguments.seconds):
                reply = workers[cell[0]]("turn", cell=repr(cell), clock=arguments.clock)
                if "failed" in reply:
                    known["failed"] = reply["failed"]
                else:
                    times.append(reply["seconds"])
            advance()
    for ask in workers.values():
        ask("forget")


def _memory(arguments):
    """Peak memory of RoIAlign, each form in a process of its own, on the CPU."""
    # Large blocks straight from the kernel and back to it: what is freed is no longer held.
    environment = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    rows = []
    for dtype in arguments.dtypes:
        print(peak_heading(dtype, MEMORY_CASE.shapes), flush=True)
        for name, mode, form in [("peer", None, None), *_cells(arguments.backends, arguments.forms)]:
            try:
                with WorkerProcess(name, environment=environment) as worker:
                    reply = worker.ask(
                        name, "memory", quick=arguments.quick, dtype=dtype, mode=mode, form=form
                    )
            except ModuleNotFoundError as error:
                reply = {"failed": str(error)}
            row = {"op": "roi_align", "work": FORWARD, "dtype": dtype}
            row |= {"worker": name, "mode": mode, "form": form, **reply}
            if "failed" not in row:
                row["times_output"] = row["peak_bytes"] / row["output_bytes"]
                if name != "peer" and not arguments.quick:
                    row["aim"], row["met"] = MEMORY_AIM, row["times_output"] <= MEMORY_AIM
            rows.append(row)
            print(peak_line(row), flush=True)
    if arguments.out:
        write_results(arguments.out, {"rows": rows})
    return rows


if __name__ == "__main__":
    main()
