"""Files and folders that appear whole or not at all: written beside the target, then renamed onto it."""

import contextlib
import os
import shutil
import uuid
from pathlib import Path


def _temporary_name(path):
    """A name in the same folder, so that the rename stays inside one file system; the suffix is kept."""
    return path.with_name(f".{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}")


@contextlib.contextmanager
def atomic_file(path):
    """Give a temporary path to write to; on success it replaces `path`, on an error it is removed.

    Args:
        path: str or Path. The final file. Its folder is made if absent.

    Yields:
        Path: the temporary file's name, in the same folder and with the same suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path):
    """Give a temporary folder to fill; on success it is renamed to `path`, on an error it is removed.

    Args:
        path: str or Path. The final folder. Must not exist: a folder cannot be replaced in one step.

    Yields:
        Path: the temporary folder, already made, beside `path`.

    Raises:
        FileExistsError: `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already. Choose another folder, or move that one away.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
