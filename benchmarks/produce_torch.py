"""One file out of PyTorch, by litert-torch, onnx2tf or ExecuTorch: `produce.py`'s counterpart in an environment apart.

    PYTHON benchmarks/produce_torch.py PRODUCER MODEL MODE OUTPUT --calibration SAMPLES.npy
        --evaluation SAMPLES.npy [--weights FILE.pth] [--onnx2tf COMMAND]

PYTHON is that of `make .venv-torch`; onnx2tf is a command of another environment, `make .venv-onnx2tf`. The models are
torchvision's; samples are (N, height, width, channels). The file is TFLite, but for ExecuTorch, which runs its own.
It needs nothing of this project.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

started = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402

MODELS = ("alexnet", "googlenet", "mobilenet_v2", "resnet50", "vgg16")
LIVED_IN = 32
INPUT = "image"
ITS_OWN_SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
MADE_BY_ONNX2TF = {
    "float32": "model_float32.tflite",
    "dynamic": "model_dynamic_range_quant.tflite",
    "int8": "model_full_integer_quant.tflite",
}
MODES = tuple(MADE_BY_ONNX2TF)


def build(name: str, weights: Path | None, images: torch.Tensor) -> torch.nn.Module:
    """torchvision's model, in logits; random weights with the images' statistics, if none are given."""
    torch.manual_seed(0)
    extra = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **extra)
    if weights:
        model.load_state_dict(torch.load(weights, weights_only=True))
    else:
        live_in(model, images[:LIVED_IN])
    return model.eval()


def live_in(model: torch.nn.Module, images: torch.Tensor) -> None:
    """As `random_weights.live_in` does it to Keras models."""
    normalizations = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in normalizations:
        torch.nn.init.uniform_(layer.weight, 0.3, 0.7)
        torch.nn.init.uniform_(layer.bias, 0, 1)
        layer.momentum = 1.0
    if normalizations:
        with torch.no_grad():
            model.train()(images)


def litert_torch(model: torch.nn.Module, mode: str, images: torch.Tensor, output: Path) -> None:
    """Google's converter for PyTorch; int8 and dynamic range by its PT2E quantizer, as its guide has it."""
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    model = litert_torch.to_channel_last_io(model, args=[0]).eval()
    sample = (images[:1].permute(0, 2, 3, 1).contiguous(),)
    settings = {}
    if mode != "float32":
        quantizer = PT2EQuantizer().set_global(
            get_symmetric_quantization_config(is_per_channel=True, is_dynamic=mode == "dynamic")
        )
        model = prepare_pt2e(torch.export.export(model, sample).module(), quantizer)
        for image in images if mode == "int8" else images[:1]:
            model(image[None].permute(0, 2, 3, 1))
        model = convert_pt2e(model, fold_quantize=False)
        settings = {"quant_config": QuantConfig(pt2e_quantizer=quantizer)}
    litert_torch.convert(model, sample, **settings).export(str(output))


def executorch(model: torch.nn.Module, mode: str, images: torch.Tensor, output: Path) -> None:
    """PyTorch's own way to devices, with XNNPACK; int8 by its PT2E quantizer, as its guide has it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    if mode == "dynamic":
        raise SystemExit("ExecuTorch's file is made in float32 and int8 alone here")
    images = images.to(memory_format=torch.channels_last)  # XNNPACK's own: nothing is transposed then
    if mode == "int8":
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(torch.export.export(model, (images[:1],)).module(), quantizer)
        for image in images:
            prepared(image[None])
        model = convert_pt2e(prepared)
    exported = torch.export.export(model, (images[:1],))
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    output.write_bytes(lowered.to_executorch().buffer)


def onnx2tf(command: str, model: torch.nn.Module, mode: str, images: torch.Tensor, output: Path) -> None:
    """PyTorch's ONNX export, and onnx2tf's TFLite file of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.onnx.export(model, (images[:1],), folder / "model.onnx", input_names=[INPUT], dynamo=True)
        # It wants samples in [0, 1], with a mean and a deviation that give the model's input.
        low, high = images.amin((0, 2, 3)), images.amax((0, 2, 3))
        samples = ((images.permute(0, 2, 3, 1) - low) / (high - low)).numpy()
        np.save(folder / "samples.npy", samples)
        mean, deviation = ((values / (high - low)).reshape(1, 1, 1, -1) for values in (-low, torch.ones_like(low)))
        np.save(folder / ITS_OWN_SAMPLES, samples[:20, :128, :128])  # or it would download them
        call = [command, "--input_onnx_file_path", "model.onnx", "--output_folder_path", ".", "--non_verbose"]
        if mode == "dynamic":
            call += ["--output_dynamic_range_quantized_tflite"]
        if mode == "int8":
            call += ["--output_integer_quantized_tflite", "--quant_type", "per-channel"]
            call += ["--input_quant_dtype", "int8", "--output_quant_dtype", "int8"]
            call += ["--custom_input_op_name_np_data_path", INPUT, "samples.npy"]
            call += [json.dumps(values.tolist()) for values in (mean, deviation)]
        status = subprocess.run(call, cwd=folder, stdout=subprocess.DEVNULL).returncode
        if status:
            raise SystemExit(f"onnx2tf ended with exit status {status}")
        output.write_bytes((folder / MADE_BY_ONNX2TF[mode]).read_bytes())


def main() -> None:
    """Produce the file and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("producer", choices=("litert-torch", "onnx2tf", "executorch"))
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--onnx2tf", default="onnx2tf", metavar="COMMAND")
    options = parser.parse_args()
    images, evaluation = (
        torch.from_numpy(np.load(path)).permute(0, 3, 1, 2).contiguous()
        for path in (options.calibration, options.evaluation)
    )
    imported = time.perf_counter()
    model = build(options.model, options.weights, images)
    built = time.perf_counter()
    if options.producer == "onnx2tf":
        onnx2tf(options.onnx2tf, model, options.mode, images, options.output)
    else:
        produce = litert_torch if options.producer == "litert-torch" else executorch
        produce(model, options.mode, images, options.output)
    done = time.perf_counter()
    with torch.no_grad():
        logits = torch.cat([model(image[None]) for image in evaluation])
    np.save(options.output.with_suffix(".npy"), logits.numpy())
    figures = {"imports": imported - started, "build": built - imported, "export": done - built}
    print(json.dumps({name: round(seconds, 3) for name, seconds in figures.items()}))


if __name__ == "__main__":
    main()
