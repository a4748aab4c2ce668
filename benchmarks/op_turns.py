"""How an op is run for a time: often enough for the clock, without a pause between calls on accelerators."""

import time

# A turn repeats short calls up to this many seconds, for a clock and a scheduler that are not exact.
_TURN = 0.05
_MOST_CALLS = 50


def repeated(run, wait, queued):
    """A function of how often to run, that returns the last result when it is there.

    An accelerator gets all the calls before the first is waited for: of short ops the way there and back
    would be most of the time, and in a network other work hides it. On a CPU each call is waited for.

    Args:
        run: callable without arguments.
        wait: callable of the result.
        queued: bool. Whether calls return before their work is done.
    """

    def run_and_wait(times=1):
        for _ in range(times):
            result = run()
            if not queued:
                wait(result)
        wait(result)
        return result

    return run_and_wait


def turns(expected):
    """How many calls of `expected` seconds make a turn."""
    return max(1, min(_MOST_CALLS, int(_TURN / expected)))


def seconds(function, calls=1, now=time.perf_counter):
    """Seconds of one of so many calls of a function of `repeated`."""
    started = now()
    function(calls)
    return (now() - started) / calls
