"""Reads weights and shapes out of a file of torch.export, without running its graph."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

# torch._export.serde.schema.ScalarType
_TYPES = {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64}
_TYPES |= {6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16}

_GRAPH = re.compile(r"models/[^/]+\.json$|serialized_exported_program\.json$")  # the latter old

Shape = tuple[int | None, ...]


class ExportHeader(NamedTuple):
    """Shapes of what the graph takes and gives; a dimension that is left open is None."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    nodes: int


def read_export_header(path: Path) -> ExportHeader:
    """Reads the graph's own description of itself.

    Raises:
        ValueError: it is of a version that lays it out in another way.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        name = next((n for n in names if _GRAPH.search(n)), None)
        if name is None:
            raise ValueError("no graph")
        program = json.loads(archive.read(name))
    try:
        module = program["graph_module"]
        values, signature = module["graph"]["tensor_values"], module["signature"]
        shapes = [
            tuple(
                _shape(values[spec[f"user_{side}"]["arg"]["as_tensor"]["name"]])
                for spec in signature[f"{side}_specs"]
                if "as_tensor" in spec.get(f"user_{side}", {}).get("arg", {})
            )
            for side in ("input", "output")
        ]
        return ExportHeader(shapes[0], shapes[1], len(module["graph"]["nodes"]))
    except (KeyError, TypeError) as error:
        raise ValueError("another layout") from error


def read_exported_weights(path: Path) -> dict[str, Tensor]:
    """Reads the weights, by their names in the original network; pickled ones are left out."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        old = next((n for n in names if n.endswith("serialized_state_dict.pt")), None)
        if old is not None:  # torch before 2.9
            return torch.load(io.BytesIO(archive.read(old)), "cpu", weights_only=True)
        listed = next(n for n in names if n.endswith("weights_config.json"))
        folder = listed.rpartition("/")[0]
        return {
            name: _tensor(archive.read(f"{folder}/{entry['path_name']}"), entry["tensor_meta"])
            for name, entry in json.loads(archive.read(listed))["config"].items()
            if not entry.get("use_pickle")
        }


def _tensor(content: bytes, meta: dict[str, Any]) -> Tensor:
    sizes, strides = ([number["as_int"] for number in meta[key]] for key in ("sizes", "strides"))
    dtype = _TYPES[meta["dtype"]]
    empty = torch.empty(0, dtype=dtype)
    flat = torch.frombuffer(bytearray(content), dtype=dtype) if content else empty
    return flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()


def _shape(value: dict[str, Any]) -> Shape:
    return tuple(size.get("as_int") for size in value["sizes"])
