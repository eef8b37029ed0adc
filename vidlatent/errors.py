"""Every error a caller can act on: what was given, what is allowed, what to do."""


class VidlatentError(Exception):
    """Root of all errors raised on purpose; the command line prints these as one line and exits 1."""


class InputError(VidlatentError, ValueError):
    """An argument, file or configuration is not what is allowed."""


class VideoError(InputError):
    """A video file cannot be read or written as asked; the message names the file, the reason and what may help.

    `reason` is without the last: who reads thousands of files has other ways to help.
    """

    def __init__(self, path: object, reason: str, advice: str = "") -> None:
        super().__init__(f"{path}: {reason}{advice and f'; {advice}'}")
        self.path, self.reason, self.advice = str(path), reason, advice


class LatentFileError(InputError):
    """A latent file is torn, foreign, or does not fit the autoencoder asked to decode it."""


class ModelError(InputError):
    """A model name, configuration or weight file is wrong; the message names the key."""


class BudgetTooSmall(InputError):  # noqa: N818 - the public name
    """No plan fits the memory budget; the message names the smallest budget that would do."""

    def __init__(self, message: str, *, smallest_bytes: int = 0) -> None:  # a default, or it could not be unpickled
        super().__init__(message)
        self.smallest_bytes = smallest_bytes


class MissingDependency(VidlatentError, ImportError):  # noqa: N818 - reads as what it is
    """An optional package is needed; the message names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is needed for this and is not installed: pip install 'vidlatent[{extra}]'")
