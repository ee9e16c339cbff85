"""What ends a command: one sentence (what is wrong, where, what to do), a code and an exit code."""

GOOD, CLOSED, BROKEN, INFRASTRUCTURE = 0, 1, 2, 3


class Stop(Exception):
    """Ends a command, and is told in one sentence: what is wrong, where, what to do.

    ``code`` names the kind of fault and stays as it is from version to version; the sentence may
    become better. ``exit_code`` is 1 a gate closed, 2 usage or broken input, 3
    infrastructure. ::

        Stop
        └── InputError          a person must mend an input (2)
            ├── OtherCode       features.py is another than the model learned with
            └── OtherVersion    another scikit-learn made the model
    """

    def __init__(self, code: str, sentence: str, exit_code: int = BROKEN) -> None:
        super().__init__(sentence)
        self.code, self.exit_code = code, exit_code

    def told(self, name: str) -> str:
        """The line that says so: who (a verb), the sentence, and the code."""
        return f"{name}: {self} [{self.code}]"


class InputError(Stop):
    """Something a person must mend; the message is one sentence: what, where, what to do."""
