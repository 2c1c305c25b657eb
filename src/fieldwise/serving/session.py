"""ONNX Runtime, as a server wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fieldwise.errors import ArtefactError, UserError

__all__ = ["open_session"]


def open_session(graph: bytes, folder: Path | None = None) -> Any:
    """Return the session of a graph; `folder` is what an error names.

    Raises
    ------
    ArtefactError
        ONNX Runtime cannot take the graph.
    UserError
        ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "ONNX Runtime is not installed", where="Predictor", fix="pip install 'fieldwise[serve]'"
        ) from None
    options = onnxruntime.SessionOptions()
    # A request is answered by one thread: those of a pool would spin while they wait for each other.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has exceptions of its own
        raise ArtefactError(
            "ONNX Runtime cannot take the network", where=folder, got=str(error).strip().splitlines()[0]
        ) from None
