"""Artifacts whose weights are after the flatbuffer, as ai-edge-quantizer writes those of more than 256 kB."""

from pathlib import Path

from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.model_modifier import ModelModifier, _PackedBufferData


def weights_outside(artifact: Path, target: Path) -> Path:
    """Write the same model with its larger weights outside to `target`, and return that."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(artifact.read_bytes(), 0))
    target.write_bytes(ModelModifier(model)._serialize_model(model, _PackedBufferData(model)))
    return target
