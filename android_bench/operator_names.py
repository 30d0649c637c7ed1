"""What an operator of a profile is called on the page.

XNNPACK's profile names its own operators and the kernel that computed them, such as "Convolution (NHWC, QC8) IGEMM":
IGEMM and GEMM are both matrix products, of a convolution with and without a neighbourhood. It computes a 1×1
convolution as a fully connected layer, and its profile does not tell the two apart.
"""

from __future__ import annotations

import re

XNNPACK_NAME = re.compile(
    r"(?P<kind>[^()]+) \((?P<layout>N[A-Z0-9]*|NCHW2NHWC)(?:, (?P<types>[^()]+))?\)(?: (?P<kernel>\S+))?"
)
# Operators by XNNPACK's name and kernel, as its library spells them.
CONVOLUTIONS = {"DWConv": "Depthwise convolution", "GEMM": "1×1 convolution"}
KINDS = {
    "Deconvolution": "Transposed convolution",
    "Fully Connected": "Fully connected or 1×1 convolution",
    "Dynamic Fully Connected": "Fully connected with computed weights",
}


def readable(name: str) -> str:
    """Return what an operator is, in the field's words.

    Args:
        name: an operator of XNNPACK's profile, or TFLite's name of a built-in one, which stays as it is.

    Returns:
        Its kind, and the types that XNNPACK computed it in.
    """
    match = XNNPACK_NAME.fullmatch(name)
    if match is None:
        return name
    kind, kernel, types = match["kind"], match["kernel"], match["types"]
    kind = CONVOLUTIONS.get(kernel, kind) if kind == "Convolution" else KINDS.get(kind, kind)
    return f"{kind} ({types})" if types else kind
