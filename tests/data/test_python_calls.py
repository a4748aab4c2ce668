import subprocess
import sys
import textwrap

import pytest

from keras_seg.data.python_calls import _Calls


@pytest.mark.tf_only
@pytest.mark.parametrize(
    "last", ["", "raise KeyboardInterrupt"], ids=["iterator of the script", "interrupted"]
)
def test_a_script_ends_while_batches_are_being_made(last):
    """Without an end of the calls no such script ended."""
    script = f"""
        import time
        from keras_seg.data import load
        from keras_seg.data.pipeline import ShapesSource

        class Slow(ShapesSource):
            def read(self, index):
                time.sleep(0.02)
                return super().read(index)

        def train():
            batches = iter(load(Slow(200, 64, 4, 0), batch_size=8, repeat=True, cache=False, validate=False))
            next(batches)
            {last}
            return batches

        kept = train()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert ("KeyboardInterrupt" in run.stderr) == bool(last)
    assert bool(run.returncode) == bool(last), run.stderr[-2000:]
    assert "StopIteration" not in run.stderr


def test_calls_run_until_the_end_and_stop_after_it():
    calls = _Calls()
    assert calls.run(lambda a, b: a + b, (1, 2)) == 3
    calls.end()
    with pytest.raises(StopIteration):
        calls.run(lambda: 1, ())
