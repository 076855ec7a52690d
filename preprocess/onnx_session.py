"""Networks in ONNX files, run by onnxruntime on one thread."""

from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from preprocess.weights import check_digest

_UNREADABLE = (
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)


def open_session(onnx_file: Path, sha256: str) -> onnxruntime.InferenceSession:
    """Load a network on the CPU, so that it gives the same numbers on every machine.

    Raises OSError if the file cannot be read, ValueError (one sentence) if it is another file than
    its digest says, or no network.
    """
    check_digest(onnx_file, sha256)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more would change nothing but who waits for whom
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; they are raised anyhow
    try:
        return onnxruntime.InferenceSession(
            str(onnx_file), options, providers=["CPUExecutionProvider"]
        )
    except _UNREADABLE as error:
        raise ValueError(f"{onnx_file} is no ONNX network, or is damaged") from error
