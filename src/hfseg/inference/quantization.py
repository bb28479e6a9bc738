# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Exported files with weights of eight bits, by ONNX Runtime's dynamic quantization of matrix products."""

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["LARGEST_CHANGE", "quantize"]

# Of all masks' pixels and classes of the comparison, at most this share may change.
LARGEST_CHANGE = 0.1
# Convolutions stay in float32: with integers they are slower on most CPUs, and lose more.
OPERATORS = ("MatMul", "Gemm")


def quantize(file: str | os.PathLike[str]) -> None:
    """Replaces the weights of matrix products in an ONNX file by int8; activations are quantized when it runs.

    Labels, processor and what else the file carries stay. The file is replaced when the new one is complete.

    Args:
        file: Of `hfseg export --format onnx`; weights inside it.

    Raises:
        ImportError: ONNX packages are missing.
        ValueError: The weights lie in a file of their own, or there is nothing to quantize.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        import onnx
    except ImportError as error:
        raise ImportError(f"int8 needs {error.name}: pip install 'hfseg[export]'.") from error
    path = Path(file)
    if Path(f"{path}.data").exists():
        raise ValueError(f"{path} has its weights in {path}.data; int8 takes files of up to 1.5 GB only.")
    before = onnx.load(os.fspath(path))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as folder:
        temporary = Path(folder) / path.name
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it recommends a preparation that these files have had
        try:
            kinds: Any = {"weight_type": QuantType.QInt8, "op_types_to_quantize": list(OPERATORS)}
            del before.graph.value_info[:]  # shapes within the graph, which it infers again and compares
            quantize_dynamic(before, os.fspath(temporary), **kinds)
        finally:
            logging.root.setLevel(level)
        after = onnx.load(os.fspath(temporary))
        if not any(node.op_type == "DynamicQuantizeLinear" for node in after.graph.node):
            raise ValueError(f"{path} has no matrix product with constant weights, so int8 changes nothing.")
        del after.metadata_props[:]
        after.metadata_props.extend(before.metadata_props)
        onnx.save(after, os.fspath(temporary))
        os.replace(temporary, path)
