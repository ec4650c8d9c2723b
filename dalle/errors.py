"""Every error that this program raises on purpose. Each message is a sentence that its reader can act on.

DalleError
├── InputError            what a person typed, chose or uploaded
│   ├── PromptError       the sentence
│   ├── PictureError      an uploaded or named picture
│   ├── LinkError         a shared link, or the note in a picture's file
│   └── SettingError      a number or choice out of its range
├── ModelError            what a model is made of
│   ├── UnknownModelError no model of that name or at that place
│   ├── CheckpointError   a file that is damaged, incomplete, or not what it claims to be
│   │   └── HalfError     a sound half of a net whose other half is not there
│   ├── DownloadError     a file that should come from the Hub and does not
│   └── UploadError       a model that should go to the Hub and does not
├── DataError             training data that cannot be read
│   └── WorldError        the procedural world lacks something it draws with
└── TrainingError         a training run that cannot start or go on
"""


class DalleError(Exception):
    """The root: catch this to show the message to a person."""


class InputError(DalleError, ValueError):
    """Something a person typed, chose or uploaded cannot be used."""


class PromptError(InputError):
    """The sentence cannot be used."""


class PictureError(InputError):
    """A picture cannot be read or used."""


class LinkError(InputError):
    """A shared link, or the note in a picture's file, does not hold what it should."""


class SettingError(InputError):
    """A setting is out of its range."""


class ModelError(DalleError):
    """A model cannot be found, read or built."""


class UnknownModelError(ModelError):
    """There is no model of that name, nor at that place."""


class CheckpointError(ModelError):
    """A file is damaged, incomplete, or not what it claims to be."""


class HalfError(CheckpointError):
    """A file holds a sound half of a net, and the other one, `missing`, is not there."""

    def __init__(self, message: str, missing: str):
        super().__init__(message)
        self.missing = missing


class DownloadError(ModelError):
    """A file could not be fetched from the Hub."""


class UploadError(ModelError):
    """A model could not be sent to the Hub."""


class DataError(DalleError):
    """Training data cannot be read."""


class WorldError(DataError):
    """The procedural world lacks something that it draws with, such as a font."""


class TrainingError(DalleError):
    """A training run cannot start or go on."""
