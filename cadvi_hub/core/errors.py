"""The error that a user's input causes: it names the place, what is wrong there, and how to mend it."""


class InputError(ValueError):
    """Bad input, settings or surroundings; the command line prints it without a traceback.

    Args:
        place: file, and row or key where there is one ("captions.jsonl, line 7").
        fault: what is wrong there.
        mend: what the user can do about it.
    """

    def __init__(self, place: str, fault: str, mend: str):
        self.place, self.fault, self.mend = place, fault, mend
        super().__init__(place, fault, mend)

    def __str__(self) -> str:
        return f"{self.place}: {self.fault}. {self.mend}"
