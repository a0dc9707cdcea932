"""A served model for lighteval's own command, which wants a file with exactly one model class.

OPENAI_BASE_URL=… lighteval custom MODEL eval/served_model.py "bison|0" --custom-tasks cadvi_hub.eval.tasks
"""

from cadvi_hub.eval.models.served import ServedModel

__all__ = ["ServedModel"]
