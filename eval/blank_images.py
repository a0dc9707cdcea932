"""The text-only baseline for lighteval's own command, which needs a file with exactly one model class.

lighteval custom FOLDER_OR_REPO eval/blank_images.py "bison|0" --custom-tasks cadvi_hub.eval.tasks
"""

from cadvi_hub.eval.models.blank_images import BlankImages

__all__ = ["BlankImages"]
