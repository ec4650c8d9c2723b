"""Words in quotes, which are to be written in the picture: where they begin and end."""

import re
import unicodedata

MARKS = '["`´‘’‚‛“”„‟′″«»‹›]'
"""A pattern of the characters that are all read as "'"."""
QUOTED = r"(?<!\w)'(?:[^']|(?<=\w)'(?=\w))+'(?!\w)"
"""A pattern of what stands in quotes, quotes included, once the marks are alike; an apostrophe is none."""


def unquoted(prompt: str) -> str:
    """The prompt as it was typed, but for what stands in quotes."""
    first = (unicodedata.normalize("NFKD", character)[0] for character in prompt)  # one for one, so that places agree
    folded = re.sub(MARKS, "'", "".join(first))
    parts, end = [], 0
    for found in re.finditer(QUOTED, folded):
        parts.append(prompt[end : found.start()])
        end = found.end()
    return " ".join([*parts, prompt[end:]])
