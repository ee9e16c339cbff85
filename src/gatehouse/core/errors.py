"""What ends a command: one sentence (what is wrong, where, what to do) and an exit code."""

GOOD, CLOSED, BROKEN, INFRASTRUCTURE = 0, 1, 2, 3


class Stop(Exception):
    """Ends the command: one sentence (what, where, what to do) and an exit code."""

    def __init__(self, sentence: str, code: int = BROKEN) -> None:
        super().__init__(sentence)
        self.code = code


class InputError(Stop):
    """Something a person must mend; the message is one sentence: what, where, what to do."""
