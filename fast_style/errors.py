"""The one exception that reaches the user as a sentence."""


class UserError(Exception):
    """A mistake of the user: its message is one clear sentence that names the remedy.

    The command line prints the sentence without a traceback and exits with code 2.
    """
