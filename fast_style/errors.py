"""The exception that users read."""


class UserError(Exception):
    """A mistake of the user, in one sentence that names the remedy.

    The command line prints the sentence without a traceback and exits with code 2.
    """
