"""Each format opened from files written here, and the real data counted."""

import json

import numpy as np
import pytest
import tifffile

from keras_seg.data import DataError, check, open_source
from keras_seg.data.nuclei import semantic_target

from .files import class_mask, color_image, palette_image, save, write_folder

pytestmark = pytest.mark.tf_only


class TestSpecs:
    def test_unknown_format_lists_the_known(self):
        with pytest.raises(
            DataError, match=r"'video:x' are of no known format.*shapes, folder, voc, camvid, isbi"
        ):
            open_source("video:x")
        with pytest.raises(DataError, match="Write folder:PATH"):
            open_source("folder")
        with pytest.raises(TypeError, match="`spec` must be a str such as 'folder:PATH', or a Source"):
            open_source(3)

    @pytest.mark.parametrize(
        "text, expected",
        [("#0:2", [0, 1]), ("#-2:", [4, 5]), ("#:5:2", [0, 2, 4]), ("#::-1", [5, 4, 3, 2, 1, 0])],
    )
    def test_slice(self, text, expected):
        source = open_source(f"shapes:6{text}")
        assert source.ids == [f"shapes_{number:05d}" for number in expected]

    def test_empty_slice(self):
        with pytest.raises(DataError, match="subset of `shapes` is empty; it has 6 items"):
            open_source("shapes:6#6:")

    def test_home_folder(self, tmp_path, monkeypatch):
        write_folder(tmp_path / "set")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert len(open_source("folder:~/set")) == 4


class TestSource:
    def test_subset_and_split(self):
        source = open_source("shapes:10")
        part = source[2:8].subset([3, 0])
        assert part.ids == ["shapes_00005", "shapes_00002"]
        np.testing.assert_array_equal(part.read(0)[0], source.read(5)[0])
        train, held_out = source.split(0.3, seed=4)
        assert (len(train), len(held_out)) == (7, 3)
        assert sorted(train.ids + held_out.ids) == source.ids
        assert source.split(0.3, seed=4)[1].ids == held_out.ids
        assert source.split(0.3, seed=5)[1].ids != held_out.ids
        with pytest.raises(ValueError, match="`fraction` must be small enough to leave one of 10 items"):
            source.split(0.99)
        with pytest.raises(TypeError, match="takes slices, as in source"):
            source[0]

    def test_describe(self):
        assert open_source("shapes:3").describe() == (
            "shapes: 3 images, 3 channels, 4 classes (background, circle, rectangle, triangle)"
        )


class TestFolder:
    def test_ids_names_and_sizes(self, tmp_path):
        write_folder(tmp_path)
        table = {"classes": ["a", "b", "c"], "ignore_index": 200}
        (tmp_path / "classes.json").write_text(json.dumps(table))
        source = open_source(f"folder:{tmp_path}")
        image, mask = source.read(2)
        np.testing.assert_array_equal(image, color_image(2))
        np.testing.assert_array_equal(mask, class_mask(2))
        assert source.class_names == ("a", "b", "c") and source.ignore_class == 200
        assert source.ids == ["a0", "a1", "a2", "a3"] and source.size(0) == (12, 17)
        assert source.image_paths[1] == tmp_path / "images" / "a1.png"
        assert source.read_instances(0) is None

    def test_other_suffixes_and_endings_match(self, tmp_path):
        save(tmp_path / "images" / "a.jpg", color_image())
        save(tmp_path / "masks" / "a_mask.png", class_mask())
        save(tmp_path / "images" / "b.bmp", color_image())
        save(tmp_path / "masks" / "b_L.png", palette_image(class_mask(1)))
        source = open_source(f"folder:{tmp_path}")
        np.testing.assert_array_equal(source.read(0)[1], class_mask())
        np.testing.assert_array_equal(source.read(1)[1], class_mask(1))

    def test_classes_are_counted_without_a_table(self, tmp_path):
        write_folder(tmp_path, num_classes=5)
        mask = class_mask(0, num_classes=5)
        mask[0, 9] = 255
        save(tmp_path / "masks" / "a0.png", mask)
        source = open_source(f"folder:{tmp_path}")
        assert source.num_classes == 5 and source.ignore_class == 255
        np.testing.assert_array_equal(source.read(0)[1], mask)

    @pytest.mark.parametrize("stored", ["grey", "one bit", "color"])
    def test_binary_masks(self, tmp_path, stored):
        binary = class_mask(num_classes=2)
        saved = {"grey": 255 * binary, "one bit": binary > 0, "color": np.dstack([255 * binary] * 3)}[stored]
        for name in "ab":
            save(tmp_path / "images" / f"{name}.png", color_image())
        save(tmp_path / "masks" / "a.png", saved)
        save(tmp_path / "masks" / "b.png", np.zeros_like(saved))
        for names in (None, ["no", "yes"]):
            if names:
                (tmp_path / "classes.json").write_text(json.dumps(names))
            source = open_source(f"folder:{tmp_path}")
            assert source.num_classes == 2 and source.ignore_class is None
            np.testing.assert_array_equal(source.read(0)[1], binary)
            np.testing.assert_array_equal(source.read(1)[1], 0 * binary)

    def test_masks_of_colors(self, tmp_path):
        write_folder(tmp_path, count=1)
        colors = np.array([[0, 0, 0], [0, 200, 10], [200, 0, 10], [255, 255, 255]], "uint8")
        ids = class_mask(num_classes=4)
        save(tmp_path / "masks" / "a0.png", colors[ids])
        table = {"classes": ["a", "b", "c"], "ignore_index": 9, "colors": colors[:3].tolist()}
        (tmp_path / "classes.json").write_text(json.dumps(table))
        with pytest.raises(DataError, match=r"unknown colour \[255, 255, 255\] at row 0, column 3"):
            open_source(f"folder:{tmp_path}").read(0)
        (tmp_path / "classes.json").write_text(json.dumps(table | {"ignore_color": [255, 255, 255]}))
        source = open_source(f"folder:{tmp_path}")
        np.testing.assert_array_equal(source.read(0)[1], np.where(ids == 3, 9, ids))
        np.testing.assert_array_equal(source.colors, colors[:3])

    def test_instance_ids_are_no_classes(self, tmp_path):
        write_folder(tmp_path, count=1)
        save(tmp_path / "masks" / "a0.png", class_mask().astype("uint16") * 300)
        with pytest.raises(DataError, match="have values up to 600: instance ids, or colours, not class ids"):
            open_source(f"folder:{tmp_path}")

    def test_grey_and_deep_images_set_the_channels_and_dtype_of_all(self, tmp_path):
        write_folder(tmp_path, count=2)
        grey = color_image()[..., 0]
        save(tmp_path / "images" / "a0.png", grey)
        source = open_source(f"folder:{tmp_path}")
        assert source.channels == 3 and source.read(0)[0].shape == (12, 17, 3)
        save(tmp_path / "images" / "a1.png", grey.astype("uint16") * 257)
        source = open_source(f"folder:{tmp_path}")
        assert source.channels == 1 and source.dtype == "float32"
        for index in range(2):
            image = source.read(index)[0]
            assert image.dtype == np.float32
            np.testing.assert_array_equal(image[..., 0], grey)

    @pytest.mark.parametrize(
        "text, message",
        [
            ("{", "cannot be read as JSON"),
            ('["one"]', 'must have "classes", a list of 2 to 255 names'),
            ('{"classes": ["a", "b"], "ignore_index": 1}', '"ignore_index" must be an integer from 2'),
            ('{"classes": ["a", "b"], "colors": [[1, 2, 3]]}', '"colors" must be 2 lists'),
            ('{"classes": ["a", "b"], "colors": [[1, 2, 3], 7]}', '"colors" must be 2 lists'),
            ('{"classes": ["a", "b"], "ignore_color": [1, 2, 3]}', '"ignore_color" must be a list'),
        ],
    )
    def test_bad_tables(self, tmp_path, text, message):
        write_folder(tmp_path, count=1)
        (tmp_path / "classes.json").write_text(text)
        with pytest.raises(DataError, match=message):
            open_source(f"folder:{tmp_path}")


class TestCamvid:
    def test_names_are_built_in_or_from_the_folder_above(self, tmp_path):
        write_folder(tmp_path / "train")
        source = open_source(f"camvid:{tmp_path}/train")
        assert source.num_classes == 11 and source.ignore_class == 11
        assert source.class_names[3] == "road" and source.colors[3].tolist() == [128, 64, 128]
        (tmp_path / "classes.json").write_text('{"classes": ["x", "y", "z"], "ignore_index": 3}')
        source = open_source(f"camvid:{tmp_path}/train")
        assert source.class_names == ("x", "y", "z") and source.ignore_class == 3


class TestIsbi:
    def test_folders_and_stacks_are_alike(self, tmp_path):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (5, 12, 17), "uint8")
        masks = rng.integers(0, 2, (5, 12, 17), "uint8") * 255
        for number in range(5):
            save(tmp_path / "png" / "images" / f"{number:02d}.png", images[number])
            save(tmp_path / "png" / "masks" / f"{number:02d}.png", masks[number])
        (tmp_path / "tif").mkdir()
        tifffile.imwrite(tmp_path / "tif" / "train-volume.tif", images, photometric="minisblack")
        tifffile.imwrite(tmp_path / "tif" / "train-labels.tif", masks, photometric="minisblack")
        folders, stacks = (open_source(f"isbi:{tmp_path}/{name}#1:4") for name in ("png", "tif"))
        assert folders.ids == stacks.ids == ["01", "02", "03"]
        assert folders.class_names == stacks.class_names == ("membrane", "cell")
        for index in range(3):
            for one, other in zip(folders.read(index), stacks.read(index), strict=True):
                np.testing.assert_array_equal(one, other)
        image, mask = stacks.read(0)
        assert image.shape == (12, 17, 1) and set(np.unique(mask)) == {0, 1}
        assert stacks.size(0) == folders.size(0) == (12, 17)

    @pytest.mark.parametrize("kind", ["1-bit labels", "deflate", "ImageJ"])
    def test_kinds_of_stacks(self, tmp_path, kind):
        images = np.random.default_rng(0).integers(0, 256, (5, 12, 17), "uint8")
        masks = images > 99
        options = {"photometric": "minisblack", "metadata": None}
        if kind == "deflate":
            options["compression"] = "zlib"
        if kind == "ImageJ":
            options = {"imagej": True}
        tifffile.imwrite(tmp_path / "train-volume.tif", images, **options)
        labels = masks if kind == "1-bit labels" else masks.astype("uint8") * 255
        tifffile.imwrite(tmp_path / "train-labels.tif", labels, **options)
        source = open_source(f"isbi:{tmp_path}")
        assert len(source) == 5
        np.testing.assert_array_equal(source.read(4)[0][..., 0], images[4])
        np.testing.assert_array_equal(source.read(4)[1], masks[4])

    def test_bad_stacks(self, tmp_path):
        volume, labels = tmp_path / "train-volume.tif", tmp_path / "train-labels.tif"
        tifffile.imwrite(volume, np.zeros((5, 12, 17), "uint8"), photometric="minisblack")
        with pytest.raises(DataError, match=r"train-labels\.tif cannot be opened"):
            open_source(f"isbi:{tmp_path}")
        tifffile.imwrite(labels, np.zeros((4, 12, 17), "uint8"), photometric="minisblack")
        with pytest.raises(DataError, match=r"shape \(5, 12, 17\), .*labels\.tif \(4, 12, 17\)"):
            open_source(f"isbi:{tmp_path}")
        tifffile.imwrite(labels, np.full((5, 12, 17), 9, "uint8"), photometric="minisblack")
        with pytest.raises(DataError, match=r"train-labels\.tif, page 0 has the unknown class id 9"):
            open_source(f"isbi:{tmp_path}")
        with tifffile.TiffFile(volume) as tiff:
            end_of_page_2 = tiff.series[0].dataoffset + 3 * 12 * 17
        labels.write_bytes(volume.read_bytes()[:end_of_page_2])
        with pytest.raises(DataError, match=r"train-labels\.tif (is truncated or damaged|cannot be read)"):
            open_source(f"isbi:{tmp_path}")
        labels.write_bytes(b"II*\x00 and no more")
        with pytest.raises(DataError, match=r"train-labels\.tif cannot be read as TIFF|without an image"):
            open_source(f"isbi:{tmp_path}")


class TestNuclei:
    def test_target_by_hand(self):
        instances = np.zeros((9, 12), "uint16")
        instances[1:8, 1:6] = 4
        instances[1:8, 6:11] = 9
        expected = np.zeros((9, 12), "uint8")
        expected[1:8, 1:11] = 2
        expected[2:7, 2:5] = 1
        expected[2:7, 7:10] = 1
        np.testing.assert_array_equal(semantic_target(instances, border=1), expected)
        expected[2:7, 2:10] = 2
        expected[3:6, [3, 8]] = 1
        np.testing.assert_array_equal(semantic_target(instances, border=2), expected)
        # Another step would leave nothing, so the inside stays.
        np.testing.assert_array_equal(semantic_target(instances, border=3), expected)

    def test_edge_of_the_image_is_no_border(self):
        assert (semantic_target(np.ones((6, 7), "uint16")) == 1).all()

    def test_every_instance_keeps_an_inside(self):
        rng = np.random.default_rng(0)
        instances = rng.integers(0, 9, (40, 50)).astype("uint16").repeat(3, axis=1)
        target = semantic_target(instances)
        assert set(np.unique(instances[target == 1])) == set(range(1, 9))
        np.testing.assert_array_equal(target == 0, instances == 0)

    def test_both_layouts_agree(self, tmp_path):
        instances = np.zeros((30, 40), "uint16")
        instances[3:12, 5:20] = 1
        instances[12:28, 8:18] = 2
        instances[5:25, 25:38] = 3
        image = color_image(size=(30, 40))
        save(tmp_path / "one" / "images" / "x.png", image)
        save(tmp_path / "one" / "instances" / "x.png", instances)
        item = tmp_path / "kaggle" / "x"
        save(item / "images" / "x.png", np.dstack([image, np.full((30, 40), 255, "uint8")]))
        for number in (1, 2, 3):
            save(item / "masks" / f"{number}.png", np.where(instances == number, 255, 0).astype("uint8"))
        one, other = open_source(f"nuclei:{tmp_path}/one"), open_source(f"kaggle-nuclei:{tmp_path}/kaggle")
        assert one.class_names == ("background", "inside", "border") == other.class_names
        for a, b in zip(one.read(0), other.read(0), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(one.read(0)[1], semantic_target(instances, 2))
        np.testing.assert_array_equal(one.read_instances(0), instances)
        np.testing.assert_array_equal(other.read_instances(0), instances)
        plain = open_source(f"nuclei:{tmp_path}/one,border=0")
        assert plain.class_names == ("background", "nucleus")
        np.testing.assert_array_equal(plain.read(0)[1], plain.read_instances(0) > 0)
        with pytest.raises(DataError, match="`border=thin` of nuclei has no value of its kind"):
            open_source(f"nuclei:{tmp_path}/one,border=thin")
        wide = open_source(f"nuclei:{tmp_path}/one", border=3)
        assert (wide.read(0)[1] == 2).sum() > (one.read(0)[1] == 2).sum()
        assert set(np.unique(one.cells(0, one.read(0)[1]))) == {0, 1, 2, 3}

    def test_missing_masks(self, tmp_path):
        save(tmp_path / "x" / "images" / "x.png", color_image())
        source = open_source(f"kaggle-nuclei:{tmp_path}")
        with pytest.raises(DataError, match=r"x has no mask: there is no folder .*x/masks\. Add it"):
            source.read(0)
        save(tmp_path / "x" / "masks" / "1.png", np.zeros((12, 17), "uint8"))
        save(tmp_path / "x" / "masks" / "2.png", np.zeros((12, 18), "uint8"))
        with pytest.raises(DataError, match=r"2\.png is 12 x 18 pixels .*beside it are 12 x 17"):
            source.read(0)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="empty: it has no folder ID with ID/images and ID/masks"):
            open_source(f"kaggle-nuclei:{tmp_path}/empty")
        save(tmp_path / "n" / "images" / "x.png", color_image())
        save(tmp_path / "n" / "images" / "y.png", color_image())
        save(tmp_path / "n" / "instances" / "y.png", color_image())
        source = open_source(f"nuclei:{tmp_path}/n")
        with pytest.raises(DataError, match=r"x\.png has no mask"):
            source.read_instances(0)
        with pytest.raises(DataError, match=r"y\.png is not a map of instances"):
            source.read(1)


@pytest.mark.data
@pytest.mark.parametrize(
    "spec, count, num_classes, channels, sizes",
    [
        ("camvid:camvid/train", 367, 11, 3, {(360, 480): 367}),
        ("camvid:camvid/val", 101, 11, 3, {(360, 480): 101}),
        ("isbi:isbi2012", 24, 2, 1, {(512, 512): 24}),
        ("kaggle-nuclei:nuclei_kaggle_sample", 6, 3, 3, None),
        ("nuclei:nuclei#::9", 59, 3, 3, None),
    ],
)
def test_real_data(real_data, spec, count, num_classes, channels, sizes):
    name, path = spec.split(":", 1)
    source = open_source(f"{name}:{real_data}/{path}")
    report = check(source, progress=False)
    assert report.problems == []
    assert (len(source), source.num_classes, source.channels) == (count, num_classes, channels)
    assert sizes is None or report.sizes == sizes
    assert (report.class_pixels > 0).all()


@pytest.mark.data
def test_real_nuclei_are_531_and_agree_with_their_kaggle_form(real_data):
    nuclei = open_source(f"nuclei:{real_data}/nuclei")
    kaggle = open_source(f"kaggle-nuclei:{real_data}/nuclei_kaggle_sample")
    assert len(nuclei) == 531
    index = nuclei.ids.index(kaggle.ids[0][:16])
    np.testing.assert_array_equal(nuclei.read(index)[0], kaggle.read(0)[0])
    np.testing.assert_array_equal(nuclei.read(index)[1] > 0, kaggle.read(0)[1] > 0)
