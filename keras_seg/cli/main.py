"""`keras-seg COMMAND`: finds the command, runs it, and turns the user's mistakes into one line each."""

import argparse
import sys

from keras_seg.cli import check_data, demo, evaluate, export, import_weights, predict, propose, serve, train
from keras_seg.version import __version__

COMMANDS = (demo, train, evaluate, predict, export, serve, import_weights, check_data, propose)

_EPILOG = """\
examples:
  keras-seg demo
  keras-seg check-data folder:my/data
  keras-seg train unet --data folder:my/data --out runs/mine
  keras-seg evaluate runs/mine --data folder:my/test --json scores.json
  keras-seg predict runs/mine photos/ --out predictions --overlay
  keras-seg export runs/mine served/mine
  keras-seg serve served/mine
  keras-seg import-weights fcn_resnet50 fcn_resnet50.pth --out fcn.keras

`keras-seg COMMAND --help` has each command's options and examples. The backend is Keras's:
  KERAS_BACKEND=jax keras-seg train ...
"""


def main(argv=None):
    """Run one command.

    Args:
        argv: list of str, or None for the process's own arguments.

    Returns:
        int, the exit status: 0, or 2 where the user has something to mend, or 130 after Ctrl-C.
    """
    arguments = make_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError, ImportError) as error:
        if arguments.debug:
            raise
        print(f"keras-seg {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nkeras-seg {arguments.command}: stopped.", file=sys.stderr)
        return 130
    return 0


def make_parser():
    """The argument parser with all commands."""
    parser = argparse.ArgumentParser(
        "keras-seg",
        description="Train, evaluate, apply and export segmentation networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show Python's traceback on errors")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
