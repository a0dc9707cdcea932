"""The constant-answer baseline for lighteval's own command, which wants a file with exactly one model class.

lighteval custom constant eval/constant_model.py "bison|0" --custom-tasks cadvi_hub.eval.tasks
"""

from cadvi_hub.eval.models.constant import ConstantModel

__all__ = ["ConstantModel"]
