"""What a room's name, a nickname and a message may look like.

Each rule returns what to use, or raises Refused with a sentence for the person who typed it.
"""

import json
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
    if not all(character in "-_" or is_letter(character) for character in name):
        raise Refused("room", "A room's name is made of letters, digits, spaces and hyphens.")
    return name


def is_letter(character):
    """Tell letters and digits of any script, and the marks without which many can't be written."""
    return unicodedata.category(character)[0] in "LMN"


def nickname(text):
    """Return a nickname, in which nothing is invisible: it has to be told from another one."""
    nick = tidy(text)
    check_length("nick", "nickname", nick, MAX_NICK_CHARACTERS)
    if not nick.isprintable():
        raise Refused("nick", "A nickname can't contain invisible characters.")
    return nick


def frame(text):
    """Return what a page has sent; it may be anything, made to do harm."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # ValueError: binary frames, too
        raise Refused("message", "This room takes JSON only.") from None


def message(text):
    """Return one line of chat. Markup needs no care here: the page shows it as text."""
    try:
        text.encode()
    except (AttributeError, UnicodeError):  # no text, or "\ud800": JSON can spell half characters
        raise Refused("message", "This room takes text only.") from None
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
