"""What a room's name, a nickname and a message may look like.

Each rule returns the text to use, or raises Refused with a sentence for the person who typed it.
"""

import re
import unicodedata

MAX_ROOM_CHARACTERS = 32
MAX_NICK_CHARACTERS = 24
MAX_MESSAGE_CHARACTERS = 500


class Refused(ValueError):
    """The text can't be used; `str()` of this tells its author why."""

    def __init__(self, field, reason):
        super().__init__(reason)
        self.field = field
        """What was being filled in: "room", "nick" or "message"."""


def room_name(text):
    """Return the name of a room as it stands in its address: "Tea time" becomes "tea-time"."""
    name = tidy(text).lower().replace(" ", "-")
    check_length("room", "room's name", name, MAX_ROOM_CHARACTERS)
    if not re.fullmatch(r"[\w-]+", name):
        raise Refused("room", "A room's name is made of letters, digits, spaces and hyphens.")
    return name


def nickname(text):
    """Return a nickname, in which nothing is invisible: it has to be told from another one."""
    nick = tidy(text)
    check_length("nick", "nickname", nick, MAX_NICK_CHARACTERS)
    if not nick.isprintable():
        raise Refused("nick", "A nickname can't contain invisible characters.")
    return nick


def message(text):
    """Return one line of chat. Markup needs no care here: the page shows it as text."""
    if not isinstance(text, str):  # a binary frame arrives as bytes
        raise Refused("message", "This room takes text only.")
    line = tidy(text)
    check_length("message", "message", line, MAX_MESSAGE_CHARACTERS)
    return line


def tidy(text):
    """Return `text` on one line, with single spaces, and each character spelt in one way only."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def check_length(field, thing, text, most):
    """Raise Refused unless `text` has 1 to `most` characters."""
    if not text:
        raise Refused(field, f"A {thing} can't be empty.")
    if len(text) > most:
        raise Refused(field, f"A {thing} has at most {most} characters, this one has {len(text)}.")
