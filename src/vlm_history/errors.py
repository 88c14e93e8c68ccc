"""The error a reader can do something about."""


class InputError(ValueError):
    """Something given from outside is not what is needed: what was expected, what came, what to do."""
