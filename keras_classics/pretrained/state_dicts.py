"""The weights of PyTorch networks by name, from any of the files in which people hold them."""

from __future__ import annotations

import os

import numpy as np

from keras_classics.pretrained import safetensors_files, torch_files

SUFFIXES = (".pth", ".pt", ".th", ".pth.tar", ".ckpt", ".safetensors")
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
"""What DataParallel, torch.compile and training scripts put before each name of a network that they hold."""


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors by the network's own names for them, without those of what wraps it.

    Raises:
        ValueError: the file is damaged, is no state dict, or names anything but tensors and settings.
    """
    safe = os.fspath(path).endswith(".safetensors")
    tensors = safetensors_files.read(path) if safe else torch_files.read(path)
    while wrapper := next((each for each in WRAPPERS if all(name.startswith(each) for name in tensors)), None):
        tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors
