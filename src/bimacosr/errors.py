"""Every error that is a user's business, in one tree.

    BimacosrError
    ├── OptionError            a setting or an argument is out of its range
    ├── PictureError           a picture file or array cannot be used
    │   ├── ReadError          it is missing, damaged, or no picture
    │   ├── LimitError         it is larger than the limits allow
    │   └── WriteError         the result cannot be written
    ├── ModelError             a model is unknown, missing, damaged or of a newer format
    ├── BackendError           a backend or device is not there
    ├── TrainingError          a training cannot go on
    └── ResultError            the network gave a result that is not a picture

The message of each is one sentence for the user: what is wrong, with which file or value,
and what to do. The command line prints it as it is; anything that is not a `BimacosrError` is
a defect of ours.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BimacosrError",
    "LimitError",
    "ModelError",
    "OptionError",
    "PictureError",
    "ReadError",
    "ResultError",
    "TrainingError",
    "WriteError",
]


class BimacosrError(Exception):
    """Base of all errors that bimacosr raises on purpose."""


class OptionError(BimacosrError, ValueError):
    """A setting or an argument is out of its range."""


class PictureError(BimacosrError):
    """A picture file or array cannot be used."""


class ReadError(PictureError):
    """A picture is missing, damaged, or no picture at all."""


class LimitError(PictureError):
    """A picture is larger than the limits allow."""


class WriteError(PictureError):
    """A result cannot be written."""


class ModelError(BimacosrError):
    """A model is unknown, missing, damaged, or of a newer format."""


class BackendError(BimacosrError):
    """A backend or a device is not there."""


class ResultError(BimacosrError):
    """The network gave a result that is not a picture: NaN, or flat where the input is not."""


class TrainingError(BimacosrError):
    """A training cannot go on: its loss is no number any more, or its run does not fit."""
