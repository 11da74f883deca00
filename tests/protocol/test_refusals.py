"""The table of refusals: statuses, texts and headers, to the letter (§3.2, §8)."""

import re

import pytest

from greenrelay.pid import PID
from greenrelay.protocol import refusals
from greenrelay.protocol.origins import Origin
from greenrelay.protocol.refusals import Refusal, bad_request, ended_stream, foreign_origin

ROWS = {name: row for name, row in vars(refusals).items() if isinstance(row, Refusal)}
OWN = Origin("https", "example.org", "443")
HERE, ELSEWHERE = (PID(f"proc@{node}/Zk3v0000000000000000") for node in ("here", "there"))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_client_reads_one_line_in_plain_text(row):
    assert re.fullmatch(r"[2345]\d\d [A-Z][A-Za-z ]+", row.status)
    assert re.fullmatch(r"[ -~]*", row.body)


def test_no_two_rows_say_the_same():
    assert len({(row.status, row.body, row.detail) for row in ROWS.values()}) == len(ROWS)


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        pytest.param(refusals.NOT_GET, {"Allow": "GET"}, id="RFC 9110 §15.5.6"),
        pytest.param(
            refusals.NOT_AN_UPGRADE,
            {"Upgrade": "websocket", "Connection": "Upgrade"},
            id="RFC 9110 §15.5.22",
        ),
        pytest.param(
            refusals.OTHER_VERSION,
            {"Sec-WebSocket-Version": "13", "Upgrade": "websocket", "Connection": "Upgrade"},
            id="RFC 6455 §4.4",
        ),
        pytest.param(refusals.STOPPING, {"Retry-After": "5"}, id="RFC 9110 §15.6.4"),
    ],
)
def test_a_status_has_the_headers_that_belong_to_it(row, headers):
    assert dict(row.error().headers) == headers


def test_each_error_is_made_anew():
    """One that is raised twice would keep the first request by its traceback."""
    assert refusals.STOPPING.error() is not refusals.STOPPING.error()


def test_what_is_known_of_one_request_stands_in_its_error_alone():
    error = refusals.BODY_TOO_SLOW.error("10 s", (("Connection", "close"),))
    assert (error.detail, error.headers) == ("10 s", (("Connection", "close"),))
    assert refusals.BODY_TOO_SLOW.error().headers == ()


def test_what_breaks_a_grammar_says_how():
    error = bad_request("a header line has no colon")
    assert (error.status, error.body) == ("400 Bad Request", "a header line has no colon")


@pytest.mark.parametrize(
    ("own", "shown"),
    [(OWN, "'https://example.org:443'"), (None, "'unknown, its Host is malformed'")],
)
def test_only_the_log_names_a_foreign_page_and_the_site(own, shown):
    error = foreign_origin("https://evil\n", own)
    assert error.body == "origin not allowed"
    assert error.detail == f"'https://evil\\n' is not allowed; this site is {shown}"


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        (HERE, f"the target {HERE} is not alive"),
        (ELSEWHERE, f"the target {ELSEWHERE} lives on node 'there', and this is 'here'"),
    ],
    ids=["dead", "of another node"],
)
def test_only_the_log_says_which_target_is_gone(target, detail):
    error = refusals.target_gone(target, "here")
    assert (error.body, error.detail) == ("relay target is gone", detail)


def test_a_stream_that_has_ended_is_an_ordinary_answer():
    error = ended_stream(b"event: done\n\n", [("Content-Type", "text/event-stream")])
    assert (error.status, error.body) == ("200 OK", "event: done\n\n")
    assert error.headers == (("Content-Type", "text/event-stream"),)
