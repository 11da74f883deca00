"""The event stream format, written and read; an independent parser judges (§4.1, §5.3)."""

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st

from greenrelay.protocol.eventstream import (
    Event,
    EventParser,
    ServerSentEvent,
    check_id,
    check_name,
    check_retry,
    encode_event,
    payload_text,
)

BREAKS = "\r\n\0"
ANY_TEXT = st.text(st.characters(codec="utf-8"))
EVIL_TEXT = st.lists(
    st.sampled_from(
        ["\r", "\n", "\r\n", "\0", "\u2028", "\x85", "event: x", "id: 1", ":", " ", "é"]
    )
).map("".join)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters=BREAKS), min_size=1)


def read(data):
    """Return the events as httpx-sse understands them."""
    lines, events = SSELineDecoder(), SSEDecoder()
    found = map(events.decode, lines.decode(data.decode()))
    return [event for event in found if event is not None]


def unbroken(text):
    """Return the text as an event stream can carry it: with LF as its only line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# -- writing (§5.3) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "written"),
    [
        pytest.param("hello", b"data: hello\n", id="one line"),
        pytest.param("", b"data: \n", id="nothing"),
        pytest.param("a\nb", b"data: a\ndata: b\n", id="LF"),
        pytest.param("a\rb", b"data: a\ndata: b\n", id="CR"),
        pytest.param("a\r\nb", b"data: a\ndata: b\n", id="CRLF"),
        pytest.param("a\n\rb", b"data: a\ndata: \ndata: b\n", id="LF CR"),
        pytest.param("a\n", b"data: a\ndata: \n", id="LF at the end"),
        pytest.param("\n\n", b"data: \ndata: \ndata: \n", id="only LF"),
        pytest.param(" a", b"data:  a\n", id="a space first"),
        pytest.param("a\0b", b"data: a\0b\n", id="NUL"),
        pytest.param(
            "a\u2028b\x85c\x0bd", "data: a\u2028b\x85c\x0bd\n".encode(), id="no line ends"
        ),
        pytest.param("id: 7\nevent: x", b"data: id: 7\ndata: event: x\n", id="fields"),
    ],
)
def test_data_has_a_line_for_each_of_its_lines(data, written):
    """§5.3"""
    assert encode_event("news", data) == b"event: news\n" + written + b"\n"


def test_id_and_retry_have_lines_of_their_own():
    """§4.1"""
    written = encode_event("news", "x", id="7", retry=1500)
    assert written == b"event: news\nid: 7\nretry: 1500\ndata: x\n\n"


def test_empty_id_is_sent():
    """It makes the browser forget the last one."""
    assert encode_event("news", "x", id="") == b"event: news\nid: \ndata: x\n\n"


@pytest.mark.parametrize("name", ["", "a\nb", "a\rb", "a\r\nb", "a\0b", "\n", "a\n\ndata: x"])
def test_name_that_could_break_out_is_refused(name):
    """§4.1"""
    with pytest.raises(ValueError, match="an event's name is not empty"):
        encode_event(name, "x")


@pytest.mark.parametrize("id", ["a\nb", "a\rb", "a\r\nb", "a\0b", "1\n\nevent: x\ndata: y"])
def test_id_that_could_break_out_is_refused(id):
    """§4.1"""
    with pytest.raises(ValueError, match="an event's id has no CR, LF or NUL"):
        encode_event("news", "x", id=id)


@pytest.mark.parametrize("retry", [-1, 1.5, "1", True, 2**31])
def test_retry_is_a_number_of_milliseconds(retry):
    """§4.1"""
    with pytest.raises(ValueError, match="retry is a whole number of milliseconds"):
        check_retry(retry)


@pytest.mark.parametrize("check", [check_name, check_id])
@pytest.mark.parametrize("value", [7, b"news", ["news"]])
def test_name_and_id_are_text(check, value):
    """§4.1"""
    with pytest.raises(TypeError, match="is a str, got"):
        check(value)


@pytest.mark.parametrize(
    "name", ["message", "a b", "ünïcode", ": x", "data: x", "\u2028", "\ufeff"]
)
def test_name_may_be_anything_on_one_line(name):
    """§4.1"""
    assert [event.event for event in read(encode_event(name, "x"))] == [name]


def test_half_a_surrogate_pair_is_refused():
    """§4.1: it has no UTF-8."""
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode_event("news", "\ud800")


def test_event_refuses_what_can_not_be_sent():
    """§5.3: where it is made, and not where nobody sees it."""
    with pytest.raises(ValueError, match="an event's id"):
        Event("x", id="a\nb")
    with pytest.raises(ValueError, match="retry"):
        Event("x", retry=-1)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        pytest.param('"as it is"', '"as it is"', id="text"),
        pytest.param(b"\xff\x00", "/wA=", id="bytes"),
        pytest.param(bytearray(b"\xff\x00"), "/wA=", id="bytearray"),
        pytest.param({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}', id="object"),
        pytest.param(None, "null", id="nothing"),
        pytest.param(True, "true", id="flag"),
    ],
)
def test_payload_is_text_base64_or_json(payload, text):
    """§5.3"""
    assert payload_text(payload) == text


@pytest.mark.parametrize("payload", [{1, 2}, float("nan"), object(), {"a": b"bytes"}])
def test_payload_that_is_not_json_is_refused(payload):
    """§5.3"""
    with pytest.raises((TypeError, ValueError)):
        payload_text(payload)


@given(NAMES, ANY_TEXT | EVIL_TEXT)
def test_any_event_is_read_as_the_one_that_was_written(name, data):
    """§5.3"""
    (event,) = read(encode_event(name, data))
    assert (event.event, event.data, event.id) == (name, unbroken(data), "")


@given(ANY_TEXT | EVIL_TEXT, ANY_TEXT | EVIL_TEXT, st.none() | ANY_TEXT | EVIL_TEXT)
def test_nothing_is_injected_by_any_text(name, data, id):
    """§4.1, §5.3: one event, or an error and no event."""
    try:
        written = encode_event(name, data, id=id)
    except ValueError:
        assert not name or set(BREAKS) & set(name + (id or ""))
    else:
        (event,) = read(written)
        assert (event.event, event.data, event.id) == (name, unbroken(data), id or "")


# -- reading -------------------------------------------------------------------


def seen(data, id="", retry=None):
    """Return an event without a name."""
    return ServerSentEvent("message", data, id, retry)


@pytest.mark.parametrize(
    ("data", "events"),
    [
        pytest.param(b"data: a\n\n", [seen("a")], id="no name"),
        pytest.param(b"event: x\ndata: a\n\n", [("x", "a", "", None)], id="name"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [seen("a")], id="byte order mark"),
        pytest.param(b"data:a\r\rdata: b\r\n\r\n", [seen("a"), seen("b")], id="line ends"),
        pytest.param(b"data: a\ndata: b\n\n", [seen("a\nb")], id="two lines"),
        pytest.param(b": ping\n\n", [], id="comment"),
        pytest.param(b"event: x\n\n", [], id="no data"),
        pytest.param(b"event: x\n\ndata: a\n\n", [seen("a")], id="name of no event"),
        pytest.param(b"data: a\n", [], id="not complete"),
        pytest.param(b"data\n\n", [seen("")], id="no colon"),
        pytest.param(b"data:  a\n\n", [seen(" a")], id="two spaces"),
        pytest.param(
            b"id: 1\ndata: a\n\ndata: b\n\n", [seen("a", "1"), seen("b", "1")], id="id stays"
        ),
        pytest.param(b"id: 1\nid\ndata: a\n\n", [seen("a")], id="id is forgotten"),
        pytest.param(b"id: a\0b\ndata: a\n\n", [seen("a")], id="NUL in the id"),
        pytest.param(b"retry: 100\n\ndata: a\n\n", [seen("a", retry=100)], id="retry alone"),
        pytest.param(b"retry: 1s\ndata: a\n\n", [seen("a")], id="bad retry"),
        pytest.param(b"other: 1\ndata: \xff\n\n", [seen("\ufffd")], id="not UTF-8"),
    ],
)
def test_stream_is_read_as_browsers_do(data, events):
    assert EventParser().feed(data) == events


@given(NAMES, ANY_TEXT | EVIL_TEXT, st.integers(0, 100))
def test_stream_is_read_wherever_it_is_cut(name, data, cut):
    """Also in the middle of a character, or of CR LF."""
    written = encode_event(name, data, retry=5).replace(b"\n", b"\r\n")
    parser = EventParser()
    assert [*parser.feed(written[:cut]), *parser.feed(written[cut:])] == [
        ServerSentEvent(name, unbroken(data), "", 5)
    ]
