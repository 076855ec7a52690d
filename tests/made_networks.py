"""Small files in the formats of SCRFD, YuNet, ArcFace and FAN, whose answers are known in advance.

The detectors' face is one red cell of 8 px on black; the embedding reads six pixels; FAN's
landmarks are two-coloured marks, one kind for each landmark.
"""

import functools
import hashlib
import itertools

import cv2
import numpy as np
import onnx
import torch
from face_alignment.models import FAN
from face_alignment.utils import flip
from onnx import TensorProto, helper, numpy_helper

CELL_PX = 8
STRIDES = (8, 16, 32)
RED_BOX_CELLS = np.array([-4.0, -4, 5, 5])  # from the top left corner of the red cell
RED_POINTS_CELLS = np.array([[0.0, 0], [1, 0], [0.5, 0.5], [0, 1], [1, 1]])


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def _save(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, "made", inputs, outputs, constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests"
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _pool(source, target, size, stride):
    pad = (size - stride) // 2
    return helper.make_node(
        "AveragePool", [source], [target], kernel_shape=[size, size], strides=[stride, stride],
        pads=[pad] * 4, count_include_pad=1,
    )  # fmt: skip


def _red_cells(red_of):
    """Nodes that say, [1,1,H/8,W/8], where one cell is red and those about it are not."""
    return [
        helper.make_node("Mul", ["input", red_of], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "channel"], ["summed"], keepdims=1),
        helper.make_node("Relu", ["summed"], ["red"]),
        _pool("red", "here", CELL_PX, CELL_PX),
        _pool("red", "around", 3 * CELL_PX, CELL_PX),
        helper.make_node("Mul", ["here", "gain"], ["loud"]),
        helper.make_node("Mul", ["around", "damping"], ["quiet"]),
        helper.make_node("Sub", ["loud", "quiet"], ["contrast"]),
        helper.make_node("Clip", ["contrast", "zero", "most"], ["found"]),
    ]


def _rows(source, target):
    """[1,C,h,w] to [1,h*w*C,1]."""
    return [
        helper.make_node("Transpose", [source], [f"{target}_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{target}_last", "rows"], [target]),
    ]


def _outputs(names_and_widths):
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, width])
        for name, width in names_and_widths
    ]


def write_scrfd(path, fixed_px=None):
    """Nine outputs, two anchors a cell; only the first anchor of stride 8 ever fires, at 0.9."""
    nodes, constants = [], [
        _constant("redness", np.array([0.5, -0.5, 0], np.float32).reshape(1, 3, 1, 1)),
        _constant("channel", np.array([1])),
        _constant("gain", np.float32(1.5)),
        _constant("damping", np.float32(3)),
        _constant("zero", np.float32(0)),
        _constant("most", np.float32(0.9)),
        _constant("rows", np.array([1, -1, 1])),
        _constant("none", np.float32(0)),
        _constant("box", (RED_BOX_CELLS * [-1, -1, 1, 1]).astype(np.float32).reshape(1, 1, 4)),
        _constant("points", RED_POINTS_CELLS.astype(np.float32).reshape(1, 1, 10)),
    ]  # fmt: skip
    nodes += _red_cells("redness")
    for stride in STRIDES:
        nodes += [
            _pool("found", f"coarse_{stride}", stride // CELL_PX, stride // CELL_PX),
            helper.make_node("Mul", [f"coarse_{stride}", "none"], [f"silent_{stride}"]),
            helper.make_node(
                "Concat",
                ["found" if stride == CELL_PX else f"silent_{stride}", f"silent_{stride}"],
                [f"anchors_{stride}"],
                axis=1,
            ),
            *_rows(f"anchors_{stride}", f"score_{stride}"),
            helper.make_node("Mul", [f"score_{stride}", "none"], [f"blank_{stride}"]),
            helper.make_node("Add", [f"blank_{stride}", "box"], [f"bbox_{stride}"]),
            helper.make_node("Add", [f"blank_{stride}", "points"], [f"kps_{stride}"]),
        ]
    side = [fixed_px or "height", fixed_px or "width"]
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *side])
    kinds = (("score", 1), ("bbox", 4), ("kps", 10))
    names = [(f"{kind}_{stride}", width) for kind, width in kinds for stride in STRIDES]
    return _save(path, nodes, [picture], _outputs(names), constants)


def write_yunet(path):
    """Twelve outputs, one anchor a cell; only stride 8 ever fires, at 0.9. Its input is BGR."""
    size = np.log(RED_BOX_CELLS[2:] - RED_BOX_CELLS[:2])
    middle = (RED_BOX_CELLS[:2] + RED_BOX_CELLS[2:]) / 2
    nodes, constants = [], [
        _constant("redness", np.array([0, -1, 1], np.float32).reshape(1, 3, 1, 1) / 255),
        _constant("channel", np.array([1])),
        _constant("gain", np.float32(1.5)),
        _constant("damping", np.float32(3)),
        _constant("zero", np.float32(0)),
        _constant("most", np.float32(0.9)),
        _constant("rows", np.array([1, -1, 1])),
        _constant("none", np.float32(0)),
        _constant("box", np.r_[middle, size].astype(np.float32).reshape(1, 1, 4)),
        _constant("points", RED_POINTS_CELLS.astype(np.float32).reshape(1, 1, 10)),
    ]  # fmt: skip
    nodes += _red_cells("redness")
    for stride in STRIDES:
        nodes += [
            _pool("found", f"coarse_{stride}", stride // CELL_PX, stride // CELL_PX),
            helper.make_node("Mul", [f"coarse_{stride}", "none"], [f"silent_{stride}"]),
            *_rows("found" if stride == CELL_PX else f"silent_{stride}", f"cls_{stride}"),
            helper.make_node("Identity", [f"cls_{stride}"], [f"obj_{stride}"]),
            helper.make_node("Mul", [f"cls_{stride}", "none"], [f"blank_{stride}"]),
            helper.make_node("Add", [f"blank_{stride}", "box"], [f"bbox_{stride}"]),
            helper.make_node("Add", [f"blank_{stride}", "points"], [f"kps_{stride}"]),
        ]
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    kinds = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    names = [(f"{kind}_{stride}", width) for kind, width in kinds for stride in STRIDES]
    return _save(path, nodes, [picture], _outputs(names), constants)


def write_arcface(path, side_px=112, outputs=1):
    """The red, green and blue of six pixels: columns 40 and 50, rows 30, 60 and 90."""
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side_px, side_px])
    nodes = [
        helper.make_node("Slice", ["input", "first", "last", "axes", "step"], ["six"]),
        helper.make_node("Flatten", ["six"], ["embedding"]),
        *(helper.make_node("Relu", ["embedding"], [f"more{n}"]) for n in range(1, outputs)),
    ]
    constants = [
        _constant("first", np.array([30, 40])),
        _constant("last", np.array([91, 51])),
        _constant("axes", np.array([2, 3])),
        _constant("step", np.array([30, 10])),
    ]
    names = ["embedding", *(f"more{n}" for n in range(1, outputs))]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 18]) for name in names]
    return _save(path, nodes, [picture], results, constants)


_GREY, _REACH = 127.0, 115.0
_KNOTS = 0.15 * np.arange(7)  # where the straight pieces of the square meet


@functools.cache
def mark_codes():
    """Codes [68,9] of the landmarks' marks: colours above, left and right, together of length 1.

    A mark in the mirror is the mark of the landmark on the other side. Marks differ as much as
    picking one after the other from many random ones allows.
    """
    order = torch.arange(68.0)[:, None, None].expand(68, 1, 1)
    other_side = flip(order, is_label=True)[:, 0, 0].long().tolist()
    rng = np.random.default_rng(0)
    codes, known = np.zeros((68, 9)), np.zeros((0, 9))
    # Landmarks of the middle have fewer codes to choose from, so they come first.
    for mark in sorted(range(68), key=lambda mark: mark != other_side[mark]):
        if codes[mark].any():
            continue
        above, left, right = rng.normal(size=(3, 4000, 3))
        if other_side[mark] == mark:
            right = left
        length = np.linalg.norm(np.c_[above, left, right], axis=1)[:, None]
        seen = np.c_[above, left, right] / length
        mirrored = np.c_[above, right, left] / length
        likeness = (seen @ known.T).max(axis=1, initial=-1)
        if other_side[mark] != mark:
            likeness = np.maximum(likeness, (seen * mirrored).sum(axis=1))
        best = int(np.argmin(likeness))
        codes[mark], codes[other_side[mark]] = seen[best], mirrored[best]
        known = np.r_[known, seen[best][None], mirrored[best][None]]
    return codes


def draw_marks(rgb, middles_px, cell_px, contrast=1.0):
    """Draw the 68 marks, four cells a side: one tone above the middle, two below it."""
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]] + 0.5
    picture = rgb.copy()
    for code, (middle_x, middle_y) in zip(mark_codes(), middles_px, strict=True):
        above, left, right = np.round(_GREY + contrast * _REACH * code.reshape(3, 3))
        reach = 2 * cell_px
        top = (y >= middle_y - reach) & (y < middle_y)
        bottom = (y >= middle_y) & (y < middle_y + reach)
        before = (x >= middle_x - reach) & (x < middle_x)
        after = (x >= middle_x) & (x < middle_x + reach)
        picture[top & (before | after)] = above
        picture[bottom & before] = left
        picture[bottom & after] = right
    return picture


def grey_picture(height_px, width_px):
    return np.full((height_px, width_px, 3), int(_GREY), np.uint8)


def write_fan(path):
    """Weights of FAN whose heat map is 1 - |seen - code|^2: 1 at a mark's middle, 0 on grey.

    Nine channels carry the colours 3 px above, and 3 px below to the left and to the right of a
    place through the network. The last layers make the square from straight pieces. Most weights
    are zero, and stored as one number.
    """
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in FAN(4).state_dict().items()}
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if name.endswith("running_var") or _is_scale(name, shapes):
            state[name] = torch.ones(()).expand(shape)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)

    def dense(name):
        state[name] = torch.zeros(shapes[name])
        return state[name]

    taps = dense("conv1.weight")
    for place, (row, column) in enumerate([(0, 3), (6, 0), (6, 6)]):
        for colour in range(3):
            taps[3 * place + colour, colour, row, column] = 1
    for name in ("conv2.downsample.2.weight", "conv4.downsample.2.weight"):
        dense(name)[range(9), range(9)] = 1
    # The hourglass adds coarser copies of its input: here its last block takes them away again.
    dense("m3.b3_4.conv1.weight")[range(9), range(9), 1, 1] = -1
    pieces, offsets = dense("conv_last3.weight"), dense("conv_last3.bias")
    answers, codes = dense("l3.weight"), torch.from_numpy(mark_codes())
    for piece, (knot, sign) in enumerate(itertools.product(_KNOTS, (1, -1))):
        channels = range(9 * piece, 9 * piece + 9)
        pieces[channels, range(9)] = sign * 255 / _REACH
        offsets[channels] = -sign * _GREY / _REACH - knot
        answers[:, channels, 0, 0] = -_KNOTS[1] * (2 if knot else 1)
        if knot == 0:
            answers[:, channels, 0, 0] += 2 * sign * codes.float()
    torch.save(state, path)
    return path


def _is_scale(name, shapes):
    return name.endswith("weight") and len(shapes[name]) == 1


def red_cell(height_px, width_px, column, row, size_px=CELL_PX):
    """Black picture with one red square at a cell of its own size."""
    rgb = np.zeros((height_px, width_px, 3), np.uint8)
    rgb[row * size_px : (row + 1) * size_px, column * size_px : (column + 1) * size_px, 0] = 255
    return rgb


def red_box(column, row, size_px=CELL_PX):
    """Box of the face that the made detectors see in a red cell."""
    return size_px * (RED_BOX_CELLS + np.array([column, row, column, row]))


def red_points(column, row, size_px=CELL_PX):
    """Its five points."""
    return size_px * (RED_POINTS_CELLS + np.array([column, row]))


def enlarged(rgb, times):
    return cv2.resize(rgb, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
