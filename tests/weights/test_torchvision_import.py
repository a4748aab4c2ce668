"""Whole networks and encoders from checkpoints: classes, channels, pixels, and what is refused."""

import hashlib

import keras
import numpy as np
import pytest

from keras_seg import fcn, unet
from keras_seg.weights import from_torchvision, load_encoder, names, published_files, transform_input
from tests.harness import pixels, reload
from tests.models.tiny_detector import tiny

torch = pytest.importorskip("torch")
from tests.weights.torch_resnet import normalized, random_resnet18  # noqa: E402, needs torch


def close(received, expected):
    # Rounding of some twenty layers in float32: 1e-6 of the largest.
    assert np.abs(received - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module")
def network():
    return random_resnet18()


@pytest.fixture
def alexnet_state():
    """A checkpoint of AlexNet with 4 classes. Small integers, so that they are told apart."""
    rng = np.random.default_rng(0)
    shapes = {
        "features.0": (64, 3, 11, 11),
        "features.3": (192, 64, 5, 5),
        "features.6": (384, 192, 3, 3),
        "features.8": (256, 384, 3, 3),
        "features.10": (256, 256, 3, 3),
        "classifier.1": (4096, 9216),
        "classifier.4": (4096, 4096),
        "classifier.6": (4, 4096),
    }
    state = {f"{name}.weight": rng.integers(0, 99, shape).astype("float32") for name, shape in shapes.items()}
    return state | {f"{name}.bias": np.arange(shape[0], dtype="float32") for name, shape in shapes.items()}


class TestFromTorchvision:
    def test_a_fine_tuned_checkpoint_from_a_file(self, network, tmp_path):
        torch.save({"state_dict": torch.nn.DataParallel(network).state_dict()}, tmp_path / "mine.pth")
        model, report = from_torchvision("resnet18", tmp_path / "mine.pth", return_report=True)
        images = pixels(2, 224, 224, 3)
        with torch.no_grad():
            expected = network(normalized(images)).numpy()
        received = model.predict(images, verbose=0)
        assert received.shape == (2, 1, 1, 5)
        close(received[:, 0, 0], expected)
        np.testing.assert_array_equal(reload(model, tmp_path).predict(images, verbose=0), received)
        assert report.source == "mine.pth"
        # torchvision's count for 1000 classes is 11,689,512.
        assert report.num_parameters == 11_689_512 - 995 * 513

    def test_a_larger_image_has_a_score_for_each_window(self, network):
        model = from_torchvision("resnet18", network.state_dict())
        images = pixels(1, 256, 288, 3)
        with torch.no_grad():
            features = network.features(normalized(images))
            means = torch.nn.functional.avg_pool2d(features, 7, 1)
            expected = network.fc(means.movedim(1, -1)).numpy()
        received = model.predict(images, verbose=0)
        assert received.shape == (1, 2, 3, 5)
        close(received, expected)

    def test_grey_images(self, network):
        model, report = from_torchvision(
            "resnet18", network.state_dict(), (None, None, 1), return_report=True
        )
        grey = pixels(1, 224, 224, 1)
        # One preprocessing stands for three: the mean of the scales and of the offsets.
        deviation = np.array([0.229, 0.224, 0.225])
        scale, offset = (1 / deviation).mean(), (np.array([0.485, 0.456, 0.406]) / deviation).mean()
        x = torch.tensor((grey / 255 * scale - offset).astype("float32")).movedim(-1, 1).repeat(1, 3, 1, 1)
        with torch.no_grad():
            close(model.predict(grey, verbose=0)[:, 0, 0], network(x).numpy())
        assert "adapted to this model's channels" in str(report)

    @pytest.mark.tf_only
    def test_a_checkpoint_of_four_channels(self):
        state = random_resnet18(channels=4).state_dict()
        with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, 4\)"):
            from_torchvision("resnet18", state)
        model = from_torchvision("resnet18", state, (None, None, 4))
        assert model.input_shape == (None, None, None, 4)

    @pytest.mark.tf_only
    def test_other_networks_are_refused(self, network):
        with pytest.raises(ValueError, match="'resnet18'.*'vgg16'"):
            from_torchvision("resnet19", network.state_dict())
        with pytest.raises(ValueError, match="not one of vgg16: it has no classifier.6.weight"):
            from_torchvision("vgg16", network.state_dict())
        with pytest.raises(ValueError, match=r"(?s)does not fit resnet34.*missing:\n  layer1_2_conv1 kernel"):
            from_torchvision("resnet34", network.state_dict())

    @pytest.mark.tf_only
    def test_transform_input_is_googlenets_alone(self, network):
        with pytest.raises(ValueError, match="an option of googlenet"):
            from_torchvision("resnet18", network.state_dict(), transform_input=True)

    @pytest.mark.tf_only
    def test_names(self):
        assert {"alexnet", "googlenet", "vgg16", "resnet50", "fcn_resnet50", "fcn_resnet101"} <= set(names())


class TestLoadEncoder:
    def test_unet(self, network):
        model = unet(3, backbone="resnet18", depth=5, filters=2, dropout=0)
        state = network.state_dict()
        decoder = np.array(model.get_layer("decoder_block1_conv1").kernel)
        report = load_encoder(model, "resnet18", state)
        images = pixels(1, 64, 96, 3)
        scaled = keras.ops.convert_to_numpy(model.get_layer("rescaling")(images))
        received = model.get_layer("resnet18_pyramid").predict(scaled, verbose=0)["P5"]
        with torch.no_grad():
            close(received, network.features(normalized(images)).movedim(1, -1).numpy())
        np.testing.assert_array_equal(np.array(model.get_layer("decoder_block1_conv1").kernel), decoder)
        assert report.unused["the scores of the checkpoint's own classes"] == ("fc.weight", "fc.bias")
        assert "decoder_block1_conv1" in report.untouched
        assert not any(name.startswith("layer") for name in report.untouched)

    @pytest.mark.tf_only
    def test_fcn_takes_the_classifiers_layers_too(self, alexnet_state):
        model = fcn(6, variant="32s", backbone="alexnet")
        report = load_encoder(model, "alexnet", alexnet_state)
        assert report.untouched == ("score_fr",)
        loaded = {weight.layer: weight for weight in report.loaded}
        assert loaded["fc6"].tensor == "classifier.1.bias"
        assert {"conv1", "conv5", "fc6", "fc7"} <= set(loaded)

    @pytest.mark.tf_only
    @pytest.mark.parametrize("backbone", ["resnet18_fpn", "resnet18_c4"])
    def test_mask_rcnn(self, network, backbone):
        model = tiny(backbone=backbone, normalization="frozen_batch")
        report = load_encoder(model, "resnet18", network.state_dict())
        assert not any(name.startswith(("layer", "conv1", "bn1")) for name in report.untouched)
        assert {"fc7" if backbone == "resnet18_fpn" else "conv5_mask", "cls_score"} <= set(report.untouched)
        # On C4 the last stage is in the head, without its stride.
        stage = model.shared_stage or model.features.get_layer("resnet18_pyramid")
        kernel = np.array(stage.get_layer("layer4_1_conv2").kernel)
        np.testing.assert_array_equal(
            kernel.transpose(3, 2, 0, 1), network.state_dict()["layer4.1.conv2.weight"].numpy()
        )

    @pytest.mark.tf_only
    def test_group_normalization_takes_no_batch_normalization(self, network):
        model = tiny(backbone="resnet18_fpn", normalization="group")
        with pytest.raises(TypeError, match="'bn1' is a GroupNormalization, whose weights have no rule"):
            load_encoder(model, "resnet18", network.state_dict())

    @pytest.mark.tf_only
    def test_nothing_is_changed_on_an_error(self, network):
        model = unet(3, backbone="resnet18", depth=5, filters=2)
        before = [np.array(weight) for weight in model.weights]
        state = dict(network.state_dict())
        state["layer4.1.conv2.weight"] = torch.zeros(512, 256, 3, 3)
        with pytest.raises(
            ValueError, match=r"layer4_1_conv2 kernel \(3, 3, 512, 512\) <- .* \(512, 256, 3, 3\)"
        ):
            load_encoder(model, "resnet18", state)
        for old, weight in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(old, np.array(weight))

    @pytest.mark.tf_only
    def test_another_depth_of_the_same_family_is_refused(self, network):
        """All layers of ResNet18 are in ResNet34 too, with the same shapes."""
        with pytest.raises(ValueError, match=r"missing:\n  layer1_2_conv1"):
            load_encoder(unet(3, backbone="resnet34", depth=5, filters=2), "resnet34", network.state_dict())
        state = dict(network.state_dict()) | {"layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}
        with pytest.raises(ValueError, match=r"unexpected:\n  layer1.2.conv1.weight"):
            load_encoder(unet(3, backbone="resnet18", depth=5, filters=2), "resnet18", state)

    @pytest.mark.tf_only
    def test_models_without_the_network(self, network):
        with pytest.raises(ValueError, match="a model with the layers of resnet18"):
            load_encoder(unet(3, filters=2, depth=1), "resnet18", network.state_dict())
        with pytest.raises(TypeError, match="a keras.Model"):
            load_encoder("resnet18", "resnet18", network.state_dict())

    @pytest.mark.tf_only
    def test_a_model_for_other_pixels_is_refused(self):
        images = keras.Input((32, 32, 3), name="images_in_caffe_mode")
        inner = keras.Model(images, keras.layers.Conv2D(64, 3, name="conv1_1")(images))
        model = keras.Sequential([keras.Input((32, 32, 3)), inner])
        with pytest.raises(ValueError, match="Build it with weights=None"):
            load_encoder(model, "vgg16", {})


@pytest.mark.tf_only
def test_alexnets_linear_layers_are_laid_out_as_maps(alexnet_state):
    model = from_torchvision("alexnet", alexnet_state)
    fc6, fc7, fc8 = (np.array(model.get_layer("alexnet").get_layer(f"fc{i}").kernel) for i in (6, 7, 8))
    row, column, channel, unit = 4, 1, 200, 3000
    assert (
        fc6[row, column, channel, unit]
        == alexnet_state["classifier.1.weight"][unit, channel * 36 + row * 6 + column]
    )
    np.testing.assert_array_equal(fc7[0, 0], alexnet_state["classifier.4.weight"].T)
    np.testing.assert_array_equal(fc8[0, 0], alexnet_state["classifier.6.weight"].T)


@pytest.mark.tf_only
class TestTransformInput:
    """torchvision's option of GoogLeNet: x * (deviation / 0.5) + (mean - 0.5) / 0.5, before the network."""

    def test_pixels(self):
        matrix, offset = transform_input.transformed_affine(3)
        image = pixels(1, 4, 5, 3)
        x = normalized(image).movedim(1, -1).numpy()
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        expected = x * (deviation / 0.5) + (mean - 0.5) / 0.5
        np.testing.assert_allclose(image @ matrix + offset, expected, atol=1e-6)

    def test_folded_into_the_first_convolution(self):
        conv, norm = torch.nn.Conv2d(3, 8, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(8).eval()
        norm.running_mean.uniform_(-1, 1)
        mean, deviation = (
            torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        )
        x = torch.randn(1, 3, 40, 40)
        with torch.no_grad():
            expected = norm(conv(x * (deviation / 0.5) + (mean - 0.5) / 0.5))
            tensors = {"conv1.conv.weight": conv.weight, "conv1.bn.running_mean": norm.running_mean}
            transform_input.fold_transform(tensors, lambda tensor: tensor.detach().numpy())
            conv.weight.copy_(torch.tensor(tensors["conv1.conv.weight"]))
            norm.running_mean.copy_(torch.tensor(tensors["conv1.bn.running_mean"]))
            received = norm(conv(x))
        inside = (..., slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(received[inside], expected[inside], atol=1e-5)
        assert not np.allclose(received, expected, atol=1e-2)  # the rim, as documented

    def test_the_published_file_is_known_by_its_hash(self, tmp_path, monkeypatch):
        path = tmp_path / "renamed.pth"
        path.write_bytes(b"weights")
        assert not published_files.is_published("googlenet", path)
        digest = hashlib.sha256(b"weights").hexdigest()[:8]
        monkeypatch.setitem(published_files._DIGESTS, "googlenet", digest)
        assert published_files.is_published("googlenet", path)
        assert not published_files.is_published("googlenet", {})
        assert not published_files.is_published("resnet50", path)
