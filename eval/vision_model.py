"""A local model for lighteval's own command, which needs a file with exactly one model class.

lighteval custom FOLDER_OR_REPO eval/vision_model.py "bison|0" --custom-tasks cadvi_hub.eval.tasks
"""

from cadvi_hub.eval.models.vision import VisionModel

__all__ = ["VisionModel"]
