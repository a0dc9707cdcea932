"""The question sets for inspect-ai: `inspect eval eval/inspect_tasks.py -T benchmark=bison -T data=questions …`."""

from cadvi_hub.eval.inspect_task import cadvi

__all__ = ["cadvi"]
