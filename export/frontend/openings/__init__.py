"""What layers and operations do, said in simpler operations of `keras.ops`; importing this registers it all.

Each function gets the layer or operation and the arguments of its call, symbolic tensors among them, and gives what it
computes at inference. Only what is used here has to have a lowering (`export.frontend.lowerings`).
"""

from export.frontend.openings import (
    attention,
    elementwise,
    images,
    linear_algebra,
    pooling,
    preprocessing,
    rearrangement,
    recurrent,
    statistics,
)

__all__ = [
    "attention",
    "elementwise",
    "images",
    "linear_algebra",
    "pooling",
    "preprocessing",
    "rearrangement",
    "recurrent",
    "statistics",
]
