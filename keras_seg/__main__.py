"""`python -m keras_seg`: the same as the command `keras-seg`."""

import sys

from keras_seg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
