"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """Says what a user gave, what was expected and what to do.

    The command line prints the message without a traceback and exits with code 2, so raise it for
    mistakes of the user only; a defect of the program keeps its traceback.
    """
