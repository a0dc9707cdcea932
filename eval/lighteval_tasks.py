"""The tasks for lighteval's own command: `--custom-tasks eval/lighteval_tasks.py`, or `cadvi_hub.eval.tasks`.

Prefer the module's name: lighteval's worker processes can import a module, but not a file.
"""

from cadvi_hub.eval.tasks import TASKS_TABLE

__all__ = ["TASKS_TABLE"]
