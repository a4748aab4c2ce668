"""`keras-seg demo`: the whole way in two minutes on drawn shapes: train, evaluate, export, serve, look."""

from pathlib import Path

from keras_seg.cli.options import add_command

_EXAMPLES = ("keras-seg demo", "keras-seg demo --out first-look --epochs 20")


def add_parser(commands):
    parser = add_command(
        commands, "demo", "train, evaluate, export and serve a small U-Net on drawn shapes", _EXAMPLES, run
    )
    parser.add_argument("--out", default="keras-seg-demo", help="folder for all that is written")
    parser.add_argument("--epochs", type=int, default=12, help="passes over 240 images")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments):
    import keras

    from keras_seg.data import open_source
    from keras_seg.export import export_model
    from keras_seg.inference import evaluate_semantic
    from keras_seg.models.unet import unet
    from keras_seg.training import RunFolder, train_semantic

    folder = _free_folder(arguments.out)
    train = open_source(f"shapes:count=240,size=128,num_classes=4,seed={arguments.seed}")
    held_out = open_source(f"shapes:count=40,size=128,num_classes=4,seed={arguments.seed + 1}")
    names = ", ".join(train.class_names)
    print(f"1/5  Training a small U-Net on {len(train)} drawn images of {names}.", flush=True)
    keras.utils.set_random_seed(arguments.seed)
    model = unet(train.num_classes, filters=16, depth=3, normalization="batch", dropout=0.0)
    run_folder = RunFolder(folder / "run")
    run_folder.start(
        {"class_names": list(train.class_names), "colors": train.colors.tolist(), "ignore_class": None}
    )
    model = train_semantic(
        model, train, held_out, run_folder, epochs=arguments.epochs, augment="light", seed=arguments.seed
    )
    print(f"2/5  Scoring it on {len(held_out)} images that it has not seen.", flush=True)
    scores = evaluate_semantic(model, held_out)
    print(f"     mean IoU {scores['mean_iou']:.3f}, pixel accuracy {scores['pixel_accuracy']:.3f}")
    print("3/5  Exporting it as a SavedModel, checked against predict.", flush=True)
    report = export_model(model, folder / "served", class_names=train.class_names, colors=train.colors)
    print("     " + str(report).replace("\n", "\n     "))
    print("4/5  Asking the SavedModel about one PNG file, as TF Serving would.", flush=True)
    print(f"     {_serve_one(report.path, held_out, folder)}")
    print("5/5  Writing pictures.", flush=True)
    picture = _write_pictures(model, held_out, folder)
    print(
        f"Done. Look at {picture}, then at {run_folder.curves}.\n"
        "Next, with your own images and masks:\n"
        "  keras-seg check-data folder:DIR        # DIR/images and DIR/masks\n"
        "  keras-seg train unet --data folder:DIR --crop 256x256 --augment default --out runs/mine"
    )


def _free_folder(name):
    """`name`, or `name-2`, `name-3`, ...: an earlier demo is left alone."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{name}-{number}")
    return path


def _serve_one(version, data, folder):
    """Send one encoded image through the signature `serve_bytes`; returns a line that says what came back."""
    import tensorflow as tf

    from keras_seg.viz import save_png

    image, truth = data.read(0)
    save_png(folder / "sent.png", image)
    served = tf.saved_model.load(str(version))
    answer = served.signatures["serve_bytes"](image_bytes=tf.constant([(folder / "sent.png").read_bytes()]))
    png = answer["mask_bytes"].numpy()[0]
    mask = tf.io.decode_png(png).numpy()[..., 0]
    (folder / "answer.png").write_bytes(png)
    right = (mask == truth).mean()
    return (
        f"sent {folder / 'sent.png'}, got a {mask.shape[1]} x {mask.shape[0]} mask: {100 * right:.1f} % right"
    )


def _write_pictures(model, data, folder):
    from keras_seg.inference import predict_classes
    from keras_seg.viz import grid, save_png

    items = [data.read(index) for index in range(6)]
    predicted = predict_classes(model, [image for image, _ in items])
    rows = [(image, truth, mask) for (image, truth), mask in zip(items, predicted, strict=True)]
    path = folder / "predictions.png"
    save_png(path, grid(rows, data.class_names, data.colors))
    return path
