"""One progress bar for all long work: a share done, a rate, and the time left."""

import sys

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_bar(disable=False):
    """A `rich.progress.Progress` on standard error, so that standard output can be piped.

    Args:
        disable: bool. True shows nothing. Off a terminal nothing is shown either.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=_console(),
        disable=disable or not sys.stderr.isatty(),
    )


def track(sequence, description, total=None, disable=False):
    """Iterate over `sequence` with a progress bar; `total` is needed where it has no length."""
    with progress_bar(disable) as progress:
        yield from progress.track(sequence, total=total, description=description)


def _console():
    from rich.console import Console

    return Console(stderr=True)
