"""Record what torchvision's own networks answer, so that tests can compare ours without torchvision.

Run in an environment of its own, with numpy, torch and the torchvision that goes with it:

    python tests/reference/record_torchvision.py [mobilenet_v2-b0353104.pth]

Weights and inputs are not stored: `random_weights` and `random_input` make them again anywhere, from
the raw stream of NumPy's PCG64, which NumPy promises to keep. What is stored, in torchvision.npz, is
each network's answer, the names and shapes of its state dict, and what torchvision says of its weights.
"""

from __future__ import annotations

import json
import math
import re
import sys
import zlib
from pathlib import Path

import numpy as np

RECORDS = Path(__file__).with_name("torchvision.npz")

# Network → side of its input in pixels. Dense layers are too large for fast tests: features are recorded as well.
SIDES = {
    "alexnet": 224,
    "googlenet": 64,
    "mobilenet_v2": 64,
    "resnet18": 64,
    "resnet34": 64,
    "resnet50": 64,
    "resnet101": 64,
    "resnet152": 64,
    "vgg16": 224,
    "vgg16_bn": 224,
}
FEATURES = {"alexnet": 96, "vgg16": 64, "vgg16_bn": 64}
# Of these the names and shapes alone.
RELATIVES = ("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg19", "vgg19_bn")


def uniform(seed: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 numbers in [-1, 1) that depend on `seed` and `shape` alone."""
    count = math.prod(shape)
    raw = np.random.PCG64(zlib.crc32(seed.encode())).random_raw((count + 1) // 2).astype("<u8").view("<u4")
    return (raw[:count].astype(np.float32) / np.float32(2**31) - np.float32(1)).reshape(shape)


def random_input(side: int) -> np.ndarray:
    """An image (1, side, side, 3) in about the range of normalized photos."""
    return 2 * uniform("input", (1, side, side, 3))


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights by name under which signals neither die nor explode, and every weight matters."""
    last_of_block = re.compile(
        r"layer.*\.bn3\.weight" if any(".bn3." in name for name in shapes) else r"layer.*\.bn2\.weight"
    )
    weights = {}
    for name, shape in shapes.items():
        value = uniform(name, shape)
        if name.endswith("num_batches_tracked"):
            value = np.zeros(shape, np.int64)
        elif len(shape) > 1:
            value *= math.sqrt(6 / math.prod(shape[1:]))
        elif last_of_block.fullmatch(name):
            value = 0.3 + 0.1 * value
        elif name.endswith("running_var") or name.removesuffix("weight") + "running_var" in shapes:
            value = 1 + 0.5 * value
        else:
            value *= 0.1
        weights[name] = value
    return weights


def main(checkpoint: str | None = None) -> None:
    import torch
    import torchvision

    torch.set_num_threads(1)

    def answer(module, image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(image.transpose(0, 3, 1, 2).copy())).numpy()

    def shapes_of(module) -> dict[str, tuple[int, ...]]:
        return {key: tuple(value.shape) for key, value in module.state_dict().items()}

    records = {"versions": json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__})}
    for name, side in SIDES.items():
        options = {"aux_logits": True, "transform_input": True, "init_weights": False} if name == "googlenet" else {}
        network = torchvision.models.get_model(name, weights=None, **options).eval()
        shapes = shapes_of(network)
        weights = random_weights(shapes)
        network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
        records[f"{name}/shapes"] = json.dumps(shapes)
        records[f"{name}/logits"] = answer(network, random_input(side))
        if name in FEATURES:
            records[f"{name}/features"] = answer(network.features, random_input(FEATURES[name])).transpose(0, 2, 3, 1)
        print(name, records[f"{name}/logits"].std())
    published = {}
    for name in (*SIDES, *RELATIVES):
        for weights in torchvision.models.get_model_weights(name):
            transforms = weights.transforms()
            published[weights.url] = {
                "resize": transforms.resize_size[0],
                "crop": transforms.crop_size[0],
                "mean": transforms.mean,
                "std": transforms.std,
                **weights.meta["_metrics"]["ImageNet-1K"],
            }
    records["published"] = json.dumps(published)
    records["categories"] = json.dumps(weights.meta["categories"])
    with torch.device("meta"):
        for name in RELATIVES:
            records[f"{name}/shapes"] = json.dumps(shapes_of(torchvision.models.get_model(name, weights=None)))
    if checkpoint:
        network = torchvision.models.mobilenet_v2(weights=None).eval()
        network.load_state_dict(torch.load(checkpoint, weights_only=True))
        records["mobilenet_v2-b0353104/logits"] = answer(network, random_input(224))
    np.savez_compressed(RECORDS, **records)


if __name__ == "__main__":
    main(*sys.argv[1:2])
