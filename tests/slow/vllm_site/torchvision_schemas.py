"""PyPI's torchvision is built for CUDA: beside a CPU torch its operators do not load, but two must be known by name.

Python runs this at its start (`torchvision_schemas.pth`, beside it in site-packages); torch waits for torchvision.
"""

import sys
from importlib.abc import MetaPathFinder


class Schemas(MetaPathFinder):
    """Declares the two operators once, right before torchvision is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            for operator in ("nms", "qnms"):
                schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                torch.library.define(f"torchvision::{operator}", schema)


sys.meta_path.insert(0, Schemas())
