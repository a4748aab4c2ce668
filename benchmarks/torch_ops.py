"""The peer of `benchmarks.ops`: PyTorch's and torchvision's own ops, each in the layout that is faster."""

import torch
import torch.nn.functional as F

from benchmarks.op_cases import (
    BACKWARD,
    BOX_WEIGHTS,
    CANVAS,
    LEVELS,
    MASK_SIZE,
    NMS_THRESHOLD,
    OUTPUT_SIZE,
    SAMPLING_RATIO,
    SCALE,
)
from benchmarks.op_turns import repeated, seconds, turns
from benchmarks.torch_device import DEVICE, device_name, wait

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


class TorchOps:
    """Builds functions of the peer's ops. The methods are those of `op_worker.KerasOps`."""

    def __init__(self):
        try:
            import torchvision
        except ImportError:
            torchvision = None
        self.torchvision = torchvision

    def describe(self):
        packages = [f"torch {torch.__version__}"]
        if self.torchvision is not None:
            packages.append(f"torchvision {self.torchvision.__version__}")
        return {
            "packages": ", ".join(packages),
            "device": device_name(),
            "threads": torch.get_num_threads(),
        }

    def function(self, name, case, arrays, work, dtype="float32", **unused):
        """A function that runs the op and waits, in the faster layout, and seconds by layout, or None.

        The function is of how often to run it.
        """
        if case.peer is None:
            raise NotImplementedError("neither torch nor torchvision has the op")
        if case.peer == "torchvision" and self.torchvision is None:
            raise ModuleNotFoundError("torchvision is not installed: no peer, and nothing to check against")
        functions = {
            layout: self._in_layout(name, case, arrays, work, dtype, memory_format)
            for layout, memory_format in LAYOUTS.items()
            if case.maps or layout == "NCHW"
        }
        if not (case.features and case.maps):
            return functions["NCHW"], None
        times = {layout: _fastest(function) for layout, function in functions.items()}
        return functions[min(times, key=times.get)], times

    def _in_layout(self, name, case, arrays, work, dtype, memory_format):
        tensors = {
            key: self._tensor(key, array, case, dtype, memory_format, work) for key, array in arrays.items()
        }
        upstream = tensors.pop("upstream", None)
        features = [tensors[key] for key in case.features]
        op = getattr(self, f"_{name}")

        def run():
            if work == BACKWARD:
                outputs = op(**tensors)
                given = upstream.reshape(outputs[0].shape).to(outputs[0].dtype)
                gradients = torch.autograd.grad(outputs[0], features, given)
                # Those to maps are put channels last by `arrays`, others are not to be.
                return outputs, gradients if case.maps else [gradient.flatten() for gradient in gradients]
            with torch.no_grad():
                return op(**tensors), ()

        return repeated(run, lambda result: wait(), DEVICE == "cuda")

    def _tensor(self, key, array, case, dtype, memory_format, work):
        tensor = torch.from_numpy(array).to(DEVICE)
        if key == "boxes" and array.ndim == 3:  # torchvision's form: the image's number in the first column
            images = torch.arange(len(array), device=DEVICE, dtype=tensor.dtype)
            images = images.repeat_interleave(array.shape[1])[:, None]
            tensor = torch.cat([images, tensor.reshape(-1, 4)], dim=1)
        if case.features and case.maps and array.ndim >= 4:
            tensor = tensor.reshape(-1, *array.shape[-3:]).permute(0, 3, 1, 2)
            tensor = tensor.contiguous(memory_format=memory_format)
        if tensor.dtype == torch.int32:
            return tensor.long()  # what its own functions give
        if case.features and tensor.is_floating_point():
            tensor = tensor.to(getattr(torch, dtype))  # boxes too: torchvision wants one dtype
        return tensor.requires_grad_(key in case.features and work == BACKWARD)

    def arrays(self, outputs):
        """Results as NumPy arrays, channels last."""
        return [_channels_last(tensor.detach()).cpu().numpy() for tensor in outputs]

    def copy_bytes_per_second(self):
        """Bytes read and written each second by a copy much larger than the caches."""
        source = torch.ones(2**26, device=DEVICE)
        target = torch.empty_like(source)

        copy = repeated(lambda: target.copy_(source), lambda result: wait(), DEVICE == "cuda")
        return 2 * source.numel() * source.element_size() / _fastest(copy)

    def _roi_align(self, x, boxes):
        args = OUTPUT_SIZE, SCALE, SAMPLING_RATIO, True
        return (self.torchvision.ops.roi_align(x, boxes, *args),)

    def _roi_pool(self, x, boxes):
        return (self.torchvision.ops.roi_pool(x, boxes, OUTPUT_SIZE, SCALE),)

    def _roi_align_adaptive(self, x, boxes):
        return (self.torchvision.ops.roi_align(x, boxes, OUTPUT_SIZE, SCALE, -1, True),)

    def _multilevel_roi_align(self, boxes, **maps):
        """What `MultiScaleRoIAlign` does, but for `aligned=True`, which it does not offer."""
        align = self.torchvision.ops.roi_align
        return self._by_level(lambda *level: align(*level, SAMPLING_RATIO, True), boxes, maps)

    def _multilevel_roi_pool(self, boxes, **maps):
        return self._by_level(self.torchvision.ops.roi_pool, boxes, maps)

    def _by_level(self, read, boxes, maps):
        corners = boxes[:, 1:].float()
        sides = (corners[:, 2:] - corners[:, :2]).prod(dim=1).sqrt()
        levels = torch.floor(4 + torch.log2(sides / 224) + 1e-6).clamp(2, 5) - 2
        result = None
        for level, (name, scale) in enumerate(LEVELS.items()):
            here = torch.where(levels == level)[0]
            part = read(maps[name], boxes[here], OUTPUT_SIZE, scale)
            if result is None:
                result = part.new_zeros((len(boxes), *part.shape[1:]))
            result[here] = part
        return (result,)

    def _max_pool_with_argmax(self, x):
        return F.max_pool2d(x, 2, return_indices=True)

    def _max_unpool(self, x, indices):
        return (F.max_unpool2d(x, indices, 2),)

    def _nms(self, boxes, scores):
        return (self.torchvision.ops.nms(boxes, scores, NMS_THRESHOLD),)

    def _batched_nms(self, boxes, scores, classes):
        return (self.torchvision.ops.batched_nms(boxes, scores, classes, NMS_THRESHOLD),)

    def _box_iou(self, boxes, other):
        return (self.torchvision.ops.box_iou(boxes, other),)

    def _clip_boxes(self, boxes):
        return (self.torchvision.ops.clip_boxes_to_image(boxes, (CANVAS, CANVAS)),)

    def _masks_to_boxes(self, masks):
        return (self.torchvision.ops.masks_to_boxes(masks),)

    def _encode_boxes(self, boxes, anchors):
        return (self._box_coder().encode_single(boxes, anchors),)

    def _decode_boxes(self, deltas, anchors):
        return (self._box_coder().decode_single(deltas, anchors),)

    def _box_coder(self):
        return self.torchvision.models.detection._utils.BoxCoder(BOX_WEIGHTS)

    def _crop_masks(self, masks, boxes, indices):
        """What `project_masks_on_boxes` does, but for `aligned` and the sampling ratio, which are ours."""
        rows = boxes[:, :1] * masks.shape[1] + indices.reshape(-1, 1)
        rois = torch.cat([rows, boxes[:, 1:]], dim=1)
        masks = masks.reshape(-1, 1, *masks.shape[-2:]).to(rois)
        return (self.torchvision.ops.roi_align(masks, rois, MASK_SIZE, 1.0, SAMPLING_RATIO, True),)

    _crop_soft_masks = _crop_masks

    def _paste_masks(self, masks, boxes):
        paste = self.torchvision.models.detection.roi_heads.paste_masks_in_image
        return (paste(masks[0][:, None], boxes[:, 1:], (CANVAS, CANVAS)),)


def _channels_last(tensor):
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    return tensor.permute(0, 2, 3, 1).contiguous() if tensor.ndim == 4 else tensor


def _fastest(function):
    """Seconds of a call in the fastest of a few turns, after one to warm up."""
    function()
    calls = turns(seconds(function))
    return min(seconds(function, calls) for _ in range(3))
