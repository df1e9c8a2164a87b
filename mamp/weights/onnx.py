"""Weights for programs without torch: ONNX graphs, and a JSON file with what a program must know besides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mamp import __version__, methods
from mamp.core.errors import UserError
from mamp.core.files import make_folder, refuse_target, whole, write_json
from mamp.methods.base import Exported


def write(
    out: Path, network: nn.Module, method: Any, *, weights: Mapping[str, Any]
) -> tuple[list[Path], tuple[str, ...]]:
    """Write OUT/NAME.onnx for every graph of the method, and OUT/mamp.json.

    Returns the files, in the order of their writing, and lines for the person who asked.

    method: the network's config. weights: their sha256 and provenance. Every file is whole or
    absent, and the JSON file is there only when all are.

    Raises UserError for a method or settings without an ONNX form, where onnx is not installed, or where OUT
    cannot be written.
    """
    export = methods.require(method.name, "onnx")
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise UserError(
            'mamp weights onnx needs the package onnx; pip install "mamp[onnx]", or onnx by itself'
        ) from None
    licence = str(weights.get("provenance", {}).get("licence", "not said"))
    metadata = {"method": str(method.name), "weights": str(weights.get("sha256")), "licence": licence}
    made: Exported = export(network, method, metadata=metadata)
    make_folder(out)
    last = out / "mamp.json"
    refuse_target(last).unlink(missing_ok=True)
    for name, graph in made.graphs.items():
        with whole(out / f"{name}.onnx") as part:
            part.write_bytes(graph.SerializeToString())
    write_json(last, {"format": 1, "mamp": __version__, **metadata, **made.described})
    return [*(out / f"{name}.onnx" for name in made.graphs), last], made.notes
