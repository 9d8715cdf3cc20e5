"""Every exception trueup raises on purpose, one per boundary.

    TrueupError
    ├── ModelError            a model could not be reached, refused, or answered nonsense
    │   ├── ModelUnavailable      nobody answers at that address, now or at all
    │   └── ModelRefused          the server said no: wrong key, unknown model, bad request
    ├── JudgeError            a judge was set up in a way that cannot work
    ├── DataError             a file of queries or demonstrations cannot be used
    ├── StoreError            the run folder or its database cannot be used
    ├── SettingsError         a job file, flag or argument makes no sense
    └── BudgetSpent           a limit of calls, tokens, money or time is reached

A message is one or two sentences: what was given, and what to do next. It never holds a key.
"""


class TrueupError(Exception):
    """The root: catch this to catch everything trueup raises on purpose."""


class ModelError(TrueupError):
    """A model could not give a usable reply."""


class ModelUnavailable(ModelError):
    """Nobody answers at the model's address."""


class ModelRefused(ModelError):
    """The server refused: wrong key, unknown model, malformed request."""


class JudgeError(TrueupError):
    """A judge was set up in a way that cannot work."""


class DataError(TrueupError):
    """A file of queries, demonstrations or pairs cannot be used."""


class StoreError(TrueupError):
    """The run folder or its database cannot be used."""


class SettingsError(TrueupError):
    """A job file, flag or argument makes no sense."""


class BudgetSpent(TrueupError):
    """A limit of calls, tokens, money or time is reached."""
