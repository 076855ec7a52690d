"""A network in a tflite file as frozen, differentiable torch operations.

LiteRT runs such networks (preprocess.landmarks.litert) but gives no gradients, which a loss needs.
The format: a flatbuffer of operators, each with its constants and the tensors it reads and writes;
pictures are [B,H,W,C], "same" padding puts the odd pixel at the far side.
"""

from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor, nn

_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
}
_PLAIN: dict[str, type[nn.Module]] = {"LOGISTIC": nn.Sigmoid, "RESHAPE": nn.Flatten}
_SAME = schema.Padding.SAME


class TfliteError(ValueError):
    """The file holds something that is not supported here; one sentence says what."""


class TfliteNetwork(nn.Module):
    """One network: picture_BCHW in, its outputs in order out, each flattened to [B, ...].

    Raises TfliteError for an operator, or a use of one, that no network of ours has.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
        graph = model.subgraphs[0]
        constants = {
            index: np.frombuffer(bytes(data), _DTYPES[tensor.type]).reshape(tensor.shape)
            for index, tensor in enumerate(graph.tensors)
            if (data := model.buffers[tensor.buffer].data) is not None
        }
        self._input, self._outputs = int(graph.inputs[0]), [int(one) for one in graph.outputs]
        self._modules_in_order = nn.ModuleList()
        self._wires: list[tuple[list[int], int]] = []
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            name = _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
            reads, writes = [int(one) for one in operator.inputs], int(operator.outputs[0])
            if name == "DEQUANTIZE":
                constants[writes] = constants[reads[0]].astype(np.float32)
                continue
            given = [constants[index] for index in reads if index in constants]
            shape = graph.tensors[reads[0]].shape
            self._modules_in_order.append(_module(name, operator.builtinOptions, given, shape))
            self._wires.append(([index for index in reads if index not in constants], writes))
        self.requires_grad_(False)

    def forward(self, picture_BCHW: Tensor) -> list[Tensor]:
        """Run the network; colours on the scale that the file's maker trained it on."""
        known = {self._input: picture_BCHW}
        for module, (reads, writes) in zip(self._modules_in_order, self._wires, strict=True):
            known[writes] = module(*(known[index] for index in reads))
        return [known[index].flatten(1) for index in self._outputs]


class _Add(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


def _module(
    name: str, options: Any, given: list[NDArray[np.generic]], shape: NDArray[np.int32]
) -> nn.Module:
    """Return one operator; `given` are its constants, `shape` [B,H,W,C] that of its input."""
    if getattr(options, "fusedActivationFunction", 0):
        raise TfliteError(f"a {name} with an activation of its own is not supported")
    match name:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            return _convolution(name, options, given, shape)
        case "PRELU":
            return _prelu(given[0])
        case "ADD" if not given:
            return _Add()
        case "MAX_POOL_2D" if not _margins(
            options, (options.filterHeight, options.filterWidth), shape
        ):
            return nn.MaxPool2d(
                (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
            )
        case "PAD":
            (rows, columns, channels) = given[0][1:].tolist()
            return nn.ConstantPad3d((*columns, *rows, *channels), 0.0)
    if name in _PLAIN:
        return _PLAIN[name]()
    raise TfliteError(f"operator {name} is not supported")


def _prelu(slope: NDArray[np.generic]) -> nn.PReLU:
    prelu = nn.PReLU(slope.size)
    prelu.weight = nn.Parameter(_tensor(slope).flatten())
    return prelu


def _convolution(
    name: str, options: Any, given: list[NDArray[np.generic]], shape: NDArray[np.int32]
) -> nn.Module:
    if options.dilationHFactor != 1 or options.dilationWFactor != 1:
        raise TfliteError("a convolution with dilation is not supported")
    # [O,H,W,I], and of a depthwise one [1,H,W,O].
    order = (0, 3, 1, 2) if name == "CONV_2D" else (3, 0, 1, 2)
    kernel_OIHW = _tensor(given[0]).permute(order).contiguous()
    outputs, inputs, height, width = kernel_OIHW.shape
    groups = 1 if name == "CONV_2D" else outputs
    stride = (options.strideH, options.strideW)
    conv = nn.Conv2d(inputs * groups, outputs, (height, width), stride, groups=groups)
    conv.weight, conv.bias = nn.Parameter(kernel_OIHW), nn.Parameter(_tensor(given[1]))
    margins = _margins(options, (height, width), shape)
    return nn.Sequential(nn.ZeroPad2d(margins), conv) if margins else conv


def _margins(
    options: Any, filter_hw: tuple[int, int], shape: NDArray[np.int32]
) -> tuple[int, int, int, int] | None:
    """Return the padding left, right, top, bottom; None where there is none."""
    if options.padding != _SAME:
        return None
    margins: list[int] = []
    strides = (options.strideH, options.strideW)
    for side, stride, size in reversed(list(zip(shape[1:3], strides, filter_hw, strict=True))):
        whole = max((-(-int(side) // stride) - 1) * stride + size - int(side), 0)
        margins += [whole // 2, whole - whole // 2]
    left, right, top, bottom = margins
    return (left, right, top, bottom) if any(margins) else None


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.tensor(values.astype(np.float32))
