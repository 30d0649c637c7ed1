"""8-bit weights in a float file, for operators that run faster so than in float."""

from __future__ import annotations

import re

import numpy as np

# Below this many weights, quantizing the activations as they come costs more than the arithmetic saves:
# of 0, 1,024, 2,048, 4,096 and 8,192 the fastest or next to it on MobileNetV2 (224 and 32 pixels) and LeNet-5.
LEAST_WEIGHTS = 2048


def with_dynamic_range(content: bytes | bytearray) -> bytes:
    """The float file with 8-bit weights, one scale for each output channel, in convolutions and dense layers.

    Depthwise convolutions stay float: with quantized weights they run slower than in float
    (XNNPACK has no such kernel), and they hold few of the weights. So do kernels of few weights.
    """
    from litert_quantizer import qtyping, quantizer

    weights = qtyping.TensorQuantizationConfig(
        num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
    )
    integer = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.INTEGER, explicit_dequantize=False
    )
    operations = qtyping.TFLOperationName
    chosen = _large(content)
    if not chosen:
        return bytes(content)
    found = quantizer.Quantizer(bytearray(content))
    for operation in (operations.CONV_2D, operations.FULLY_CONNECTED):
        found.update_quantization_recipe(regex=chosen, operation_name=operation, op_config=integer)
    result = found.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _large(content: bytes | bytearray) -> str:
    """A regular expression for the operators, which the quantizer calls by their outputs; empty for none."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytes(content), 0))
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)
    names = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            quantizable = max(code.builtinCode, code.deprecatedBuiltinCode) in kinds
            if quantizable and np.prod(graph.tensors[operator.inputs[1]].shape) >= LEAST_WEIGHTS:
                names.append(re.escape(graph.tensors[operator.outputs[0]].name.decode()))
    return f"^({'|'.join(names)});?$" if names else ""
