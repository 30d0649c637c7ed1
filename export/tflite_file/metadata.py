"""What a file says of itself: names of classes, what to do to a photo, and a description, by TFLite's own scheme.

It is the FlatBuffer `TFLITE_METADATA` of metadata_schema.fbs (version 1.0) among the file's metadata, and behind the
file a ZIP archive with the label file, as MediaPipe, ML Kit, Android Studio and the TFLite Task library read it.
Interpreters pass over both.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.tflite_file import root
from export.tflite_file.tables import Schema, packed, unpacked

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"
VERSION = "1.0.0"
"""Of the schema; what reads it must be at least so new."""
DAY = (1980, 1, 1, 0, 0, 0)
"""Of the label file, always: the same model gives the same bytes."""
TENSOR_AXIS_LABELS = 2
IMAGE_PROPERTIES = 2
NORMALIZATION = 1
RGB, GRAYSCALE = 1, 2

# The tables that are written here. Fields at a table's end that nobody writes are left out, which changes nothing.
SCHEMA: Schema = {
    "ModelMetadata": (
        ("name", "string"),
        ("description", "string"),
        ("version", "string"),
        ("subgraph_metadata", "[SubGraphMetadata]"),
        ("author", "string"),
        ("license", "string"),
        ("associated_files", "[AssociatedFile]"),
        ("min_parser_version", "string"),
    ),
    "SubGraphMetadata": (
        ("name", "string"),
        ("description", "string"),
        ("input_tensor_metadata", "[TensorMetadata]"),
        ("output_tensor_metadata", "[TensorMetadata]"),
    ),
    "TensorMetadata": (
        ("name", "string"),
        ("description", "string"),
        ("dimension_names", "[string]"),
        ("content", "Content"),
        ("process_units", "[ProcessUnit]"),
        ("stats", "Stats"),
        ("associated_files", "[AssociatedFile]"),
    ),
    "Content": (
        ("content_properties_type", "ubyte"),
        ("content_properties", "FeatureProperties|ImageProperties|BoundingBoxProperties|AudioProperties"),
    ),
    "FeatureProperties": (),
    "ImageProperties": (("color_space", "ubyte"), ("default_size", "ImageSize")),
    "ImageSize": (("width", "uint"), ("height", "uint")),
    "BoundingBoxProperties": (),
    "AudioProperties": (),
    "ProcessUnit": (
        ("options_type", "ubyte"),
        ("options", "NormalizationOptions|Other|Other|Other|Other|Other"),
    ),
    "NormalizationOptions": (("mean", "[float]"), ("std", "[float]")),
    "Other": (),
    "Stats": (("max", "[float]"), ("min", "[float]")),
    "AssociatedFile": (("name", "string"), ("description", "string"), ("type", "ubyte")),
}
_FILE_SCHEMA: Schema = {
    "Metadata": (("name", "string"), ("buffer", "uint")),
    "Buffer": (("data", "[ubyte]"),),
}


@dataclass(frozen=True)
class Normalization:
    """A model's input is (pixel − mean) / std, for pixels in 0…255; one number, or one for each of R, G and B."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest input."""
        ends = [(pixel - mean) / std for mean, std in zip(self.mean, self.std, strict=True) for pixel in (0, 255)]
        return min(ends), max(ends)

    def as_json(self) -> dict[str, list[float]]:
        """For the report."""
        return {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class Metadata:
    """What is known of a file's inputs and outputs, which are called as in its signature.

    Attributes:
        inputs: (name, shape with batch), in the order of the file.
        image: which input is a photo; None where that is not known.
        normalization: of that.
        outputs: names in the order of the file.
        labelled: which of them has a column for each class; None where no class names are known.
    """

    name: str
    description: str
    inputs: Sequence[tuple[str, Sequence[int]]]
    outputs: Sequence[str]
    image: int | None = None
    normalization: Normalization | None = None
    labelled: int | None = None
    class_names: Sequence[str] = ()


def write(path: Path, content: bytes | bytearray | memoryview, metadata: Metadata) -> None:
    """Write a file with its metadata, and the label file behind it where there are class names.

    Args:
        content: a file without such metadata; a bytearray is changed in place.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    own = packed(SCHEMA, "ModelMetadata", _model(metadata), IDENTIFIER)
    buffer = packed(_FILE_SCHEMA, "Buffer", {"data": list(own)})
    entry = packed(_FILE_SCHEMA, "Metadata", {"name": NAME, "buffer": model.BuffersLength()})
    lists = {
        root.BUFFERS: [*root.elements(model, root.BUFFERS), buffer],
        root.METADATA: [*root.elements(model, root.METADATA), entry],
    }
    path.write_bytes(root.with_lists(content, lists)[0])
    if metadata.labelled is not None:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(LABELS, DAY), "\n".join(map(_line, metadata.class_names)) + "\n")


def read_metadata(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The metadata of a file as dictionaries by the schema's names; empty where it has none."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(Path(path).read_bytes())
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == NAME.encode():
            return unpacked(SCHEMA, "ModelMetadata", model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def class_names(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """The names of the classes that a file tells apart; None where it has none."""
    for output in _tensors(read_metadata(path), "output"):
        for file in output.get("associated_files", ()):
            if file.get("type") == TENSOR_AXIS_LABELS and zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    return tuple(archive.read(file["name"]).decode().splitlines())
    return None


def normalization(path: str | os.PathLike[str]) -> Normalization | None:
    """What a photo goes through before a file; None where the file does not say."""
    for tensor in _tensors(read_metadata(path), "input"):
        for unit in tensor.get("process_units", ()):
            if unit.get("options_type") == NORMALIZATION:
                return Normalization(tuple(unit["options"]["mean"]), tuple(unit["options"]["std"]))
    return None


def _tensors(metadata: Mapping[str, Any], side: str) -> list[dict[str, Any]]:
    (graph,) = metadata.get("subgraph_metadata", [{}])[:1]
    return list(graph.get(f"{side}_tensor_metadata", ()))


def _line(name: str) -> str:
    """A name as one line."""
    return " ".join(name.split())


def _model(metadata: Metadata) -> dict[str, Any]:
    inputs: list[dict[str, Any]] = [{"name": name} for name, _ in metadata.inputs]
    outputs: list[dict[str, Any]] = [{"name": name} for name in metadata.outputs]
    if metadata.image is not None:
        _, (_, height, width, channels) = metadata.inputs[metadata.image]
        properties = {
            "color_space": RGB if channels == 3 else GRAYSCALE,
            "default_size": {"width": width, "height": height},
        }
        image = inputs[metadata.image]
        image["content"] = {"content_properties_type": IMAGE_PROPERTIES, "content_properties": properties}
        if metadata.normalization:
            mean, std = list(metadata.normalization.mean), list(metadata.normalization.std)
            image["process_units"] = [{"options_type": NORMALIZATION, "options": {"mean": mean, "std": std}}]
            low, high = metadata.normalization.limits
            image["stats"] = {"max": [high], "min": [low]}
    if metadata.labelled is not None:
        labels = {"name": LABELS, "description": "the class of each column, by lines", "type": TENSOR_AXIS_LABELS}
        outputs[metadata.labelled]["associated_files"] = [labels]
    return {
        "name": metadata.name,
        "description": metadata.description,
        "subgraph_metadata": [{"input_tensor_metadata": inputs, "output_tensor_metadata": outputs}],
        "min_parser_version": VERSION,
    }
