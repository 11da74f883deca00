"""The page "Live" of app_example as people see it: a real server, a real browser."""

import re

import pytest

from app_example import live
from greenrelay import process
from greenrelay.testing import wait_until
from tests.integration.browser import SECONDS, expect
from tests.integration.example import state


@pytest.fixture
def visit(example, new_page):
    """Open the page as somebody with a browser of their own."""

    def visit(name="Ada", **options):
        page = new_page(**options)
        page.goto(f"{example.url}/live/?name={name}")
        expect(state(page)).to_have_text("Connected")
        return page

    return visit


def value(page):
    return page.locator("#value")


def notes(page):
    return page.get_by_role("list", name="Notes for you").get_by_role("listitem")


def send_note(page, to, text):
    page.get_by_label("To", exact=True).fill(to)
    page.get_by_label("Note", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def test_the_way_to_it_is_in_the_menu(example, visit):
    page = visit()
    page.get_by_role("link", name="Chat").click()
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Live")
    expect(page.get_by_role("link", name="Live")).to_have_attribute("aria-current", "true")


def test_ticker_tells_everybody_the_same(visit):
    ada, grace = visit("Ada"), visit("Grace")
    for page in (ada, grace):
        expect(page.locator("#watching")).to_have_text("2")
    before = value(ada).text_content()
    expect(value(ada)).not_to_have_text(before)
    now = value(ada).text_content()
    expect(value(grace)).to_have_text(now)


def test_page_that_is_closed_watches_no_more(visit):
    ada, grace = visit("Ada"), visit("Grace")
    expect(ada.locator("#watching")).to_have_text("2")
    grace.close()
    expect(ada.locator("#watching")).to_have_text("1")


def show(page, is_visible):
    """Bring a page to the front, or another one before it; headless, all are in front."""
    hidden = {"value": not is_visible, "configurable": True}
    page.evaluate("hidden => Object.defineProperty(document, 'hidden', hidden)", hidden)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_page_in_the_background_does_not_hold_the_ticker(visit):
    ada, grace = visit("Ada"), visit("Grace")
    expect(ada.locator("#watching")).to_have_text("2")
    show(grace, is_visible=False)
    expect(ada.locator("#watching")).to_have_text("1")
    send_note(ada, "Grace", "still there?")
    expect(notes(grace)).to_have_text(["Ada still there?"])
    show(grace, is_visible=True)
    expect(ada.locator("#watching")).to_have_text("2")


def test_job_is_watched_to_its_end(visit):
    page = visit()
    page.get_by_role("button", name="Start the job").click()
    expect(page.locator("#job-words")).to_have_text(re.compile(r"^[1-9]\d* of 40$"))
    expect(page.locator("#job-words")).to_have_text("Done.")
    assert page.locator("#job-bar").evaluate("bar => bar.value") == 1
    expect(page.get_by_role("button", name="Start the job")).to_be_enabled()


def test_export_streams_its_progress_and_then_the_file(visit):
    page = visit()
    page.get_by_role("button", name="Make the file").click()
    expect(page.locator("#export-words")).to_have_text(re.compile(r"^\d+ of 200$"))
    with page.expect_download() as download:
        page.get_by_role("link", name="squares.csv").click()
    lines = download.value.path().read_text().splitlines()
    assert (lines[0], lines[-1]) == ("number,square", "199,39601")


def test_note_reaches_all_pages_of_one_person(visit):
    ada, grace, also_grace = visit("Ada"), visit("Grace"), visit("Grace")
    send_note(ada, "Grace", "Tea is <b>ready</b>")
    for page in (grace, also_grace):
        expect(notes(page)).to_have_text(["Ada Tea is <b>ready</b>"])
    expect(notes(ada)).to_have_count(0)


def test_note_to_nobody_is_explained(visit):
    ada = visit("Ada")
    send_note(ada, "Bob", "Are you there?")
    expect(ada.get_by_role("alert")).to_have_text("Nobody is listening as Bob.")
    expect(ada.get_by_label("Note", exact=True)).to_have_value("Are you there?")


def test_another_name_gets_other_notes(visit):
    ada = visit("Ada")
    ada.get_by_label("Your name").fill("Countess")
    ada.get_by_label("Your name").press("Tab")
    send_note(ada, "Countess", "hello")
    expect(ada.get_by_label("Note", exact=True)).to_have_value("")
    expect(notes(ada)).to_have_text(["Countess hello"])


def test_a_phone_shows_it_all_without_scrolling_sideways(visit):
    page = visit("Ada", viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_pages_come_back_by_themselves_when_the_server_does(example, visit):
    ada, grace = visit("Ada"), visit("Grace")
    ada.get_by_role("button", name="Start the job").click()
    expect(ada.locator("#job-words")).to_have_text(re.compile(r"^[1-9]"))
    example.stop()
    expect(state(ada)).to_have_text("Reconnecting…")
    example.start(port=example.port)
    for page in (ada, grace):
        expect(state(page)).to_have_text("Connected")
    expect(ada.locator("#job-words")).to_have_text(
        "The job is gone: it ended while the connection was lost."
    )
    send_note(ada, "Grace", "back again")
    expect(notes(grace)).to_have_text(["Ada back again"])


# -- the processes alone -------------------------------------------------------


def test_job_tells_who_comes_late_how_far_it_is(in_process):
    def watch():
        pid = process.spawn(live.job, steps=3, pause=0.001)
        process.send(pid, "sse.join")
        news = process.listen("job.progress")
        seen = []
        while not seen or seen[-1] < 3:
            seen.append(news.receive(SECONDS).payload["done"])
        return seen

    seen = in_process(watch)
    assert seen == sorted(seen)


def test_ticker_has_a_whole_curve_for_the_first_page(in_process):
    def watch():
        pid, history = process.spawn(live.ticker), process.listen("ticker.history")
        process.send(pid, "sse.join")
        process.send(pid, "sse.leave")
        values = history.receive(SECONDS).payload
        process.cancel(pid)
        return len(values), all(0 < value < 100 for value in values)

    assert in_process(watch) == (live.TICKS_REMEMBERED, True)


def test_ticker_ends_when_nobody_looks(node):
    pid = node.spawn(live.ticker, kwargs={"pause": 0.001})
    wait_until(lambda: not node.is_alive(pid))


def test_note_reaches_the_group_of_its_person(in_process):
    def ring():
        pid, notes = process.spawn(live.door), process.listen("note.sent")
        process.send(pid, "sse.join", {"metadata": {"name": "Grace"}})
        group = process.group("notes:Grace")
        wait_until(group.members)
        group.broadcast("note.sent", "ding")
        process.cancel(pid)
        return notes.receive(SECONDS).payload

    assert in_process(ring) == "ding"
