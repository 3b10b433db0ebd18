"""The exception family: every error that a user can cause derives from HydropressError.

A message has three parts: what was received, what is required, what to do next.
"""


class HydropressError(Exception):
    """Base class of the errors that Hydropress raises on purpose."""


class InvalidArgumentError(HydropressError, ValueError):
    """An argument has a value that the function cannot take."""


class UnstableSystemError(HydropressError, ValueError):
    """A system has a pole outside the stability region, where the requested norm is infinite."""


class UnknownNameError(HydropressError, KeyError):
    """A registry holds nothing of that name; the message lists what it holds."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class NotConvergedError(HydropressError, RuntimeError):
    """An iteration stopped without a result that can be trusted."""


class FileFormatError(HydropressError, ValueError):
    """A file or directory is not what its reader needs."""


class DataNotFoundError(HydropressError, FileNotFoundError):
    """Data are not where they were looked for."""


class IllConditionedWarning(UserWarning):
    """A result is right, but to fewer digits than one would expect."""


class MissingLibraryError(HydropressError, ImportError):
    """An optional library is needed and not installed."""


class JobError(HydropressError, RuntimeError):
    """A job handed to a cluster has failed."""
