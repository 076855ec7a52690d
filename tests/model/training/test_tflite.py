from types import SimpleNamespace

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

from model.training.tflite import TfliteError, TfliteNetwork
from preprocess.landmarks.litert import Network, read_member
from preprocess.landmarks.mediapipe import MESH_MEMBER
from storage import assets


class Graph:
    """Writes a tflite file of one graph, operator by operator."""

    def __init__(self, side: int, channels: int) -> None:
        self.rng = np.random.default_rng(0)
        self.tensors, self.operators, self.codes = [], [], []
        self.buffers = [schema.BufferT()]
        self.input = self.tensor((1, side, side, channels))

    def tensor(self, shape, values=None) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.buffer, tensor.name = list(shape), 0, str(len(self.tensors))
        kinds = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32"}
        kind = "float32" if values is None else str(values.dtype)
        tensor.type = getattr(schema.TensorType, kinds[kind])
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def weights(self, *shape) -> int:
        """Half-precision numbers, made single by an operator of their own, as MediaPipe does."""
        half = self.tensor(shape, self.rng.normal(0, 0.4, shape).astype(np.float16))
        return self.add("DEQUANTIZE", [half], shape)

    def add(self, name, reads, shape, kind=None, **options) -> int:
        writes = self.tensor(shape)
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.codes), reads, [writes]
        self.codes.append(code)
        if kind:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, kind + "T")()
            for option, value in options.items():
                setattr(operator.builtinOptions, option, value)
        self.operators.append(operator)
        return writes

    def file(self, *outputs: int) -> bytes:
        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = [self.input], list(outputs)
        model.version, model.subgraphs = 3, [graph]
        model.operatorCodes, model.buffers = self.codes, self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


def every_operator() -> bytes:
    graph = Graph(side=15, channels=3)  # odd: "same" padding with stride 2 is uneven below
    x = graph.add(
        "CONV_2D", [graph.input, graph.weights(8, 4, 4, 3), graph.weights(8)], (1, 8, 8, 8),
        "Conv2DOptions", strideH=2, strideW=2, padding=SAME,
    )  # fmt: skip
    x = graph.add("PRELU", [x, graph.weights(1, 1, 8)], (1, 8, 8, 8))
    y = graph.add(
        "DEPTHWISE_CONV_2D", [x, graph.weights(1, 3, 3, 8), graph.weights(8)], (1, 4, 4, 8),
        "DepthwiseConv2DOptions", strideH=2, strideW=2, padding=SAME, depthMultiplier=1,
    )  # fmt: skip
    pooled = graph.add(
        "MAX_POOL_2D", [x], (1, 4, 4, 8),
        "Pool2DOptions", strideH=2, strideW=2, filterHeight=2, filterWidth=2, padding=SAME,
    )  # fmt: skip
    x = graph.add("ADD", [y, pooled], (1, 4, 4, 8), "AddOptions")
    margins = graph.tensor((4, 2), np.array([[0, 0], [1, 0], [0, 2], [0, 4]], np.int32))
    x = graph.add("PAD", [x, margins], (1, 5, 6, 12), "PadOptions")
    x = graph.add(
        "CONV_2D", [x, graph.weights(6, 5, 6, 12), graph.weights(6)], (1, 1, 1, 6),
        "Conv2DOptions", strideH=1, strideW=1, padding=VALID,
    )  # fmt: skip
    flat = graph.add("RESHAPE", [x, graph.tensor((2,), np.array([1, 6], np.int32))], (1, 6))
    return graph.file(x, graph.add("LOGISTIC", [flat], (1, 6)))


def test_every_operator_gives_what_litert_gives():
    content = every_operator()
    picture = np.random.default_rng(1).normal(size=(15, 15, 3)).astype(np.float32)
    wanted = Network(content)(picture)
    got = TfliteNetwork(content)(torch.from_numpy(picture).permute(2, 0, 1)[None])
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.reshape(1, -1), atol=1e-5)
    assert np.ptp(wanted[0]) > 0.1


def test_gradients_reach_the_picture_and_no_weight():
    network = TfliteNetwork(every_operator())
    picture = torch.randn(2, 3, 15, 15, requires_grad=True)
    network(picture)[1].sum().backward()
    assert picture.grad.abs().sum() > 0
    assert not any(one.requires_grad for one in network.parameters())


def test_what_is_not_supported_is_one_clear_error():
    graph = Graph(side=4, channels=1)
    doubled = graph.add("MUL", [graph.input, graph.input], (1, 4, 4, 1), "MulOptions")
    with pytest.raises(TfliteError, match="operator MUL is not supported"):
        TfliteNetwork(graph.file(doubled))
    graph = Graph(side=4, channels=1)
    relu = schema.ActivationFunctionType.RELU
    options = SimpleNamespace(fusedActivationFunction=relu)
    added = graph.add(
        "ADD", [graph.input, graph.input], (1, 4, 4, 1), "AddOptions", **vars(options)
    )
    with pytest.raises(TfliteError, match="ADD with an activation of its own"):
        TfliteNetwork(graph.file(added))


def test_the_face_mesh_network_gives_what_litert_gives():
    try:
        bundle = assets.fetch("face_landmarker")
    except assets.AssetError as error:
        pytest.skip(f"face_landmarker cannot be had here: {error}")
    content = read_member(bundle, assets.weights_digest("face_landmarker"), MESH_MEMBER)
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(0, 1)
    wanted = Network(content)(picture[0].permute(1, 2, 0).contiguous().numpy())
    with torch.no_grad():
        mesh, presence, _ = TfliteNetwork(content)(picture)
    np.testing.assert_allclose(mesh.numpy(), wanted[0].reshape(1, -1), atol=1e-2)  # px of 256
    np.testing.assert_allclose(presence.numpy(), wanted[1].reshape(1, -1), atol=1e-3)
