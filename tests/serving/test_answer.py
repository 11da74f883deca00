"""Headers of a response that the server changes."""

import pytest

from greenrelay.serving.answer import drop_relay_headers, end_connection, find_relay_header

PLAIN = [(b"Content-Type", b"text/plain"), (b"X-Relay", b"1")]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (b"X-WS-Relay", "X-WS-Relay"),
        (b"x-ws-relay", "X-WS-Relay"),
        (b"X-SSE-RELAY", "X-SSE-Relay"),
        (b"X-WS-Relay-2", None),
    ],
)
def test_a_relay_header_is_found_in_any_case(name, found):
    assert find_relay_header([*PLAIN, (name, b"{}")]) == found


def test_the_first_of_two_relay_headers_is_named():
    both = [(b"X-SSE-Relay", b"{}"), (b"X-WS-Relay", b"{}")]
    assert find_relay_header(both) == "X-SSE-Relay"


def test_all_relay_headers_are_dropped_and_no_other():
    relays = [(b"X-SSE-Relay", b"{}"), (b"x-ws-relay", b"{}"), (b"X-WS-Relay", b"{}")]
    assert drop_relay_headers([*relays, *PLAIN, *relays]) == PLAIN


@pytest.mark.parametrize("before", [[], [b"keep-alive"], [b"close", b"upgrade"]])
def test_connection_is_close_and_nothing_else(before):
    headers = [*((b"connection", value) for value in before), *PLAIN]
    assert end_connection(headers) == [*PLAIN, (b"Connection", b"close")]


def test_the_headers_given_are_not_changed():
    headers = [(b"X-WS-Relay", b"{}"), (b"Connection", b"keep-alive")]
    drop_relay_headers(headers)
    end_connection(headers)
    assert headers == [(b"X-WS-Relay", b"{}"), (b"Connection", b"keep-alive")]
