"""The error for bad input: it says where it is, what is wrong, and what to do about it."""


class InputError(ValueError):
    """Bad input, settings or environment; the command line prints it without a traceback.

    Args:
        where: file, and row or key if there is one ("captions.jsonl, line 7").
        problem: what is wrong there.
        hint: what the user can do about it.
    """

    def __init__(self, where: str, problem: str, hint: str):
        self.where, self.problem, self.hint = where, problem, hint
        super().__init__(where, problem, hint)

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.hint}"
