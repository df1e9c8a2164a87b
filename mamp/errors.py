"""The one exception for a user's mistake."""


class UserError(Exception):
    """Bad input: one sentence that names the file or key, what was found, and the remedy.

    The command line prints it without a traceback and ends with status 2.
    """
