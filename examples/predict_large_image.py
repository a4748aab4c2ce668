"""Segments an image too large for memory: from disk to disk, tile by tile.

python examples/predict_large_image.py                  # makes its own image of 6,000 x 6,000 pixels
python examples/predict_large_image.py --side 20000     # or of 20,000 x 20,000
python examples/predict_large_image.py slide.tif runs/mine/model.keras classes.tif
"""

import argparse
import re
import sys
import time
from pathlib import Path

import keras
import numpy as np

import keras_seg
from keras_seg.data import open_source
from keras_seg.inference import predict_tiled

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("image", nargs="?", help=".npy or one-page TIFF; one is made if not given")
parser.add_argument("model", nargs="?", help=".keras file; a small untrained network if not given")
parser.add_argument("out", nargs="?", default="classes.tif", help=".tif or .npy")
parser.add_argument("--side", type=int, default=6000, help="pixels, of the image that is made")
arguments = parser.parse_args()

image = arguments.image
if image is None:
    image = "large.npy"
    tile, _ = open_source("shapes:count=1,size=500").read(0)
    large = np.lib.format.open_memmap(image, "w+", "uint8", (arguments.side, arguments.side))
    for top in range(0, arguments.side, 500):
        band = np.tile(tile[..., 1], -(-arguments.side // 500))
        large[top : top + 500] = band[: arguments.side - top, : arguments.side]
    del large  # its pages go to disk
if arguments.model is None:
    model = keras_seg.unet(2, (None, None, 1), filters=4, depth=2)
else:
    model = keras.saving.load_model(arguments.model, compile=False)

started = time.perf_counter()
classes = predict_tiled(model, image, output="classes", out=arguments.out)
seconds = time.perf_counter() - started
height, width = classes.shape
print(f"{arguments.out}: {height} x {width} pixels in {seconds:.0f} s")
if sys.platform == "linux":
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(f"the process held at most {int(peak[1]) / 2**20:.2f} GiB")
