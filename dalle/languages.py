"""Whether a model knows the language of a sentence, told from its letters alone."""

import unicodedata
from collections.abc import Sequence

_SCRIPTS = {"English": "LATIN", "Russian": "CYRILLIC"}  # as the names of Unicode's letters begin


def hint(prompt: str, languages: Sequence[str]) -> str | None:
    """A sentence to show where most letters of a prompt are foreign to the languages that a model was trained on.

    None where they are not, where there are none, or where nothing is known of a model.
    """
    known = {_SCRIPTS.get(language) for language in languages}
    letters = [unicodedata.name(character, "").partition(" ")[0] for character in prompt if character.isalpha()]
    foreign = sum(script not in known for script in letters)
    if None in known or not known or 2 * foreign <= len(letters):
        return None
    return f"This model learned from {' and '.join(languages)} sentences, and hardly understands others."
