"""The builder of Mask R-CNN: backbones, normalizations, sizes, the published counts, weights, errors."""

import inspect

import keras
import numpy as np
import pytest

from keras_seg import mask_rcnn
from keras_seg.layers import BatchNormalization, RoIAlign, RoIPool
from keras_seg.models.weights import layers_by_name
from tests.harness import reload, small_keras_cv_resnet
from tests.models.tiny_detector import SIDE, assert_detections_equal, scenes, small_backbone, tiny

pytestmark = pytest.mark.tf_only

V2 = {
    "neck_normalization": "batch",
    "head_normalization": "batch",
    "box_convolutions": True,
    "rpn_convolutions": 2,
}


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


class TestPublished:
    """The sizes of the networks that others publish; large, so each is built once."""

    def test_r50_fpn(self):
        model = mask_rcnn(90, normalization="frozen_batch")
        assert trainable_parameters(model) == 44_401_393
        sides = {level: tensor.shape[1] for level, tensor in model.features.output.items()}
        assert sides == {"P2": 128, "P3": 64, "P4": 32, "P5": 16, "P6": 8}
        assert sum(len(anchors) for anchors in model.anchors.values()) == 3 * (
            128**2 + 64**2 + 32**2 + 16**2 + 8**2
        )
        frozen = [
            layer
            for layer in layers_by_name(model).values()
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        assert len(frozen) == 53 and not any(layer.trainable_weights for layer in frozen)

    def test_r50_fpn_of_the_second_version(self):
        assert trainable_parameters(mask_rcnn(90, **V2)) == 46_359_409

    def test_c4_has_the_papers_head(self):
        model = mask_rcnn(80, backbone="resnet50_c4")
        assert {key: x.shape for key, x in model.features.output.items()} == {"P4": (None, 32, 32, 1024)}
        assert model.shared_stage.output_shape == (None, 7, 7, 2048)
        assert model.mask_head.output_shape == (None, 14, 14, 81)
        assert model.settings.roi_samples == 64
        # Figure 4: 5 areas and 3 ratios on the one map.
        assert model.rpn_head.output_shape == [(None, None, None, 15), (None, None, None, 60)]
        assert {key: len(anchors) for key, anchors in model.anchors.items()} == {"P4": 15 * 32 * 32}
        assert mask_rcnn(2, (64, 64, 3), backbone="resnet18_c4", roi_samples=7).settings.roi_samples == 7


@pytest.mark.parametrize("normalization", ["batch", "group"])
def test_normalizations_of_neck_and_heads(normalization, tmp_path):
    model = tiny(neck_normalization=normalization, head_normalization=normalization, box_convolutions=True)
    images, truth = scenes()
    weights = [weight for weight in model.weights if "rescaling" not in weight.path]
    before = [np.array(weight) for weight in weights]
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    assert np.isfinite(list(model.fit(images, truth, verbose=0).history.values())).all()
    for old, weight in zip(before, weights, strict=True):
        assert not np.array_equal(old, np.array(weight)), weight.path
    again = reload(model, tmp_path)
    assert_detections_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.parametrize("normalization", ["batch", "frozen_batch", "group"])
def test_normalizations_of_the_backbone(normalization, tmp_path):
    model = tiny(backbone="resnet18_fpn", normalization=normalization)
    named = {name: layer for name, layer in layers_by_name(model).items() if "bn" in name}
    kind = keras.layers.GroupNormalization if normalization == "group" else BatchNormalization
    assert len(named) == 17 and all(isinstance(layer, kind) for layer in named.values())
    assert all(layer.trainable == (normalization != "frozen_batch") for layer in named.values())
    images = scenes()[0]
    again = reload(model, tmp_path)
    # Frozen layers stay frozen.
    assert len(again.trainable_weights) == len(model.trainable_weights)
    assert_detections_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


def test_backbone_of_keras_applications(tmp_path):
    model = tiny(backbone="MobileNetV2_fpn", normalization="frozen_batch")
    assert sorted(model.features.output) == ["P2", "P3", "P4", "P5", "P6"]
    images, truth = scenes()
    norms = ("gamma", "beta", "moving_mean", "moving_variance")
    weights = [weight for weight in model.weights if weight.name in norms]
    before = [np.array(weight) for weight in weights]
    assert len(weights) == 4 * 52
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    assert np.isfinite(list(model.fit(images, truth, verbose=0).history.values())).all()
    for old, weight in zip(before, weights, strict=True):
        np.testing.assert_array_equal(np.array(weight), old, err_msg=weight.path)
    again = reload(model, tmp_path)
    assert_detections_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


def test_backbone_of_keras_cv():
    model = tiny(backbone=small_keras_cv_resnet())
    assert sorted(model.features.output) == ["P2", "P3", "P4", "P5", "P6"]
    assert model.predict(scenes()[0], verbose=0)["boxes"].shape == (2, 10, 4)


def test_a_backbone_of_fewer_levels():
    model = tiny(backbone=small_backbone(levels=3), anchor_sizes=(8, 16, 32))
    assert sorted(model.features.output) == ["P2", "P3", "P4"]
    assert model.predict(scenes()[0], verbose=0)["boxes"].shape == (2, 10, 4)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet18_c4"])
def test_other_channels(channels, backbone):
    images, truth = scenes(channels=channels)
    model = tiny(input_shape=(SIDE, SIDE, channels), backbone=backbone)
    model.compile("sgd", run_eagerly=True)
    assert np.isfinite(list(model.fit(images, truth, verbose=0).history.values())).all()
    assert model.predict(images, verbose=0)["boxes"].shape == (2, 10, 4)


def test_a_size_that_is_no_square():
    model = tiny(input_shape=(64, 96, 3))
    assert model.image_size == (64, 96)
    images = np.zeros((1, 64, 96, 3), "uint8")
    found = model.predict(images, verbose=0)["boxes"]
    assert found[..., 0::2].max() <= 96 and found[..., 1::2].max() <= 64


def test_pixels_are_scaled_in_the_model_or_before():
    keras.utils.set_random_seed(1)
    model = tiny(backbone="resnet18")
    bare = tiny(backbone="resnet18", include_rescaling=False)
    bare.set_weights([np.array(w) for w in model.weights if "rescaling" not in w.path])
    images = scenes()[0]
    scaled = keras.ops.convert_to_numpy(model.features.get_layer("rescaling")(images))
    expected, received = model.predict(images, verbose=0), bare.predict(scaled, verbose=0)
    for key, values in expected.items():
        np.testing.assert_allclose(received[key], values, atol=1e-4, err_msg=key)


def test_settings_reach_the_parts():
    model = tiny(roi_layer="pool", canonical_size=50, mask_filters=4, head_units=9, name="mine")
    assert isinstance(model.box_regions, RoIPool) and isinstance(model.mask_regions, RoIPool)
    assert (model.name, model.box_regions.canonical_size) == ("mine", 50)
    assert model.box_head.get_layer("fc7").units == 9
    model = tiny(sampling_ratio=1, aligned=False)
    assert isinstance(model.box_regions, RoIAlign)
    assert (model.box_regions.sampling_ratio, model.mask_regions.aligned) == (1, False)
    assert (model.box_regions.output_size, model.mask_regions.output_size) == ((7, 7), (14, 14))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_heads_take_features_in_the_dtype_of_their_layers(policy):
    """An input of float32, Keras's default, would cast bfloat16 features, and its layers cast them back."""
    keras.config.set_dtype_policy(policy)
    model = tiny()
    for head in (model.rpn_head, model.box_head, model.mask_head):
        assert head.inputs[0].dtype == keras.config.dtype_policy().compute_dtype


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_weights_from_a_path(suffix, tmp_path):
    model, path = tiny(), tmp_path / f"model{suffix}"
    (model.save if suffix == ".keras" else model.save_weights)(path)
    again = tiny(weights=str(path))
    images = scenes()[0]
    assert_detections_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))
    with pytest.raises(ValueError, match="(?s)do not fit mask_rcnn.*arguments that it was saved with"):
        tiny(num_classes=5, weights=path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_classes": 0}, ValueError, "`num_classes` must be an integer of at least 1"),
        ({"num_classes": 2.0}, TypeError, "`num_classes` must be an integer of at least 1"),
        ({"input_shape": (100, 64, 3)}, ValueError, r"of multiples of 32 pixels.*Take \(96, 64, 3\)"),
        ({"input_shape": (32, 64, 3)}, ValueError, "`input_shape` must be an integer of at least 64"),
        ({"input_shape": (None, None, 3)}, ValueError, "all of them fixed.*letterboxed"),
        (
            {"input_shape": (64, 64), "backbone": "resnet18"},
            ValueError,
            r"`input_shape` must be \(height, width, channels\)",
        ),
        (
            {"input_shape": 64, "backbone": "resnet18"},
            ValueError,
            r"`input_shape` must be \(height, width, channels\)",
        ),
        (
            {"normalization": "layer"},
            ValueError,
            "`normalization` must be one of 'batch', 'frozen_batch', 'gr",
        ),
        ({"normalization": None}, ValueError, "`normalization` must be one of 'batch', 'frozen_batch', 'gr"),
        (
            {"neck_normalization": "frozen_batch"},
            ValueError,
            "`neck_normalization` must be one of None, 'batch",
        ),
        (
            {"head_normalization": "layer"},
            ValueError,
            "`head_normalization` must be one of None, 'batch', 'gr",
        ),
        (
            {"normalization": "group"},
            ValueError,
            '`normalization` must be "batch" or "frozen_batch" with a bac',
        ),
        ({"backbone": "resnet19_fpn"}, ValueError, "`backbone` must be one of 'alexnet'.*'resnet19'"),
        ({"backbone": "resnet19_c4"}, ValueError, "`backbone` must be one of"),
        ({"backbone": "vgg16_c4"}, ValueError, "`backbone` must be one of"),
        (
            {"backbone": "InceptionV3", "input_shape": (96, 96, 3)},
            ValueError,
            "`backbone` must be a network whose maps have ceil",
        ),
        ({"backbone": "resnet18", "weights": "imagenet"}, ValueError, "from_torchvision|load_encoder"),
        ({"weights": "absent.keras"}, ValueError, "`weights` must be the path of a file that exists"),
        ({"weights": "coco"}, ValueError, '`weights` must be None, "imagenet", or the path'),
        (
            {"anchor_sizes": (8, 16)},
            ValueError,
            "`anchor_sizes` must be 5 sizes, one for each of P2, P3, P4, P5, P6",
        ),
        ({"roi_layer": "warp"}, ValueError, "`roi_layer` must be one of 'align', 'pool'"),
        ({"sampling_ratio": 0}, ValueError, "`sampling_ratio` must be an integer"),
        (
            {"num_queries": 100},
            TypeError,
            "unexpected keyword argument 'num_queries'.*anchor_ratios, anchor_si",
        ),
        ({"pyramid_filters": 0}, ValueError, "`pyramid_filters` must be"),
        ({"head_units": 0}, ValueError, "`head_units` must be"),
        ({"mask_filters": "8"}, TypeError, "`mask_filters` must be"),
        ({"rpn_convolutions": -1}, ValueError, "`rpn_convolutions` must be"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        tiny(**options)


def test_a_backbone_whose_levels_begin_too_late():
    x = images = keras.Input((None, None, 3))
    for _ in range(2):
        x = keras.layers.Conv2D(4, 3, strides=8, padding="same")(x)
    with pytest.raises(
        ValueError, match="`backbone` must be a network with maps of stride 4, 8.*It has P3, P6"
    ):
        tiny(backbone=keras.Model(images, x, name="coarse"))


def test_help_shows_every_setting_with_its_default():
    shown = inspect.signature(mask_rcnn).parameters
    assert list(shown)[:2] == ["num_classes", "input_shape"]
    assert shown["roi_samples"].default == 512 and shown["anchor_sizes"].default == (32, 64, 128, 256, 512)
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in shown.values())
