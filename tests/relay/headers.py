"""Relay headers as an app writes them, and what is said about them."""

import pytest
import simplejson

from greenrelay.errors import ConfigurationError
from greenrelay.relay.config import EVENT_STREAM, parse_relay_header

TARGET = "proc@web1/AAECAwQFBgcICQoL"


def header(**fields):
    return simplejson.dumps({"target_pid": TARGET, **fields})


def parse_stream(**fields):
    """Return what an `X-SSE-Relay` with these fields, and no others, asks for."""
    return parse_relay_header(simplejson.dumps(fields), kind=EVENT_STREAM)


def fault(call, *args):
    """Return the text of the `ConfigurationError` that a call raises."""
    with pytest.raises(ConfigurationError) as caught:
        call(*args)
    return str(caught.value)


def said(text):
    """Return what is said about a header, nothing if it is taken."""
    try:
        parse_relay_header(text)
    except ConfigurationError as error:
        return str(error)
    return ""
