"""The example on two workers: two people come to one each, and it is one site (§7.1)."""

import os
import signal
import socket

import pytest

from tests.integration.browser import expect
from tests.integration.example import ExampleServer, state
from tests.integration.pinned import Pinned


@pytest.fixture(scope="module")
def server():
    with ExampleServer("--workers", "2") as server:
        yield server


@pytest.fixture
def workers(server):
    """Ways to the two workers."""
    one = Pinned(server.port)
    two = Pinned(server.port, others={one.node})
    yield one, two
    one.stop()
    two.stop()


@pytest.fixture
def visit(workers, new_page):
    """Open an address on a worker, by its number, as somebody with a browser of their own."""

    def visit(worker, path, **options):
        page = new_page(**options)
        answer = page.goto(workers[worker].url + path)
        assert answer.headers["x-node"] == workers[worker].node
        return page

    return visit


@pytest.fixture
def enter(visit):
    def enter(worker, room, nick, **options):
        page = visit(worker, f"/rooms/{room}?nick={nick}", **options)
        expect(state(page)).to_have_text("Connected")
        return page

    return enter


def say(page, text):
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def said(page):
    return page.get_by_role("log").locator(".said .words")


def people(page):
    return page.get_by_role("list", name="People").get_by_role("listitem").locator("b")


def rooms(page):
    return page.get_by_role("list", name="Open now").get_by_role("link")


def test_the_two_ways_lead_to_two_workers(workers):
    one, two = workers
    assert one.node != two.node


def test_two_people_are_in_one_room(enter):
    """§7.1, §7.6"""
    ada, grace = enter(0, "tea", "Ada"), enter(1, "tea", "Grace")
    for page in (ada, grace):
        expect(people(page)).to_have_text(["Ada", "Grace"])
    say(ada, "Is the kettle on?")
    say(grace, "Just now.")
    for page in (ada, grace):
        expect(said(page)).to_contain_text(["Is the kettle on?", "Just now."])
    grace.get_by_role("link", name="Leave").click()
    expect(people(ada)).to_have_text(["Ada"])


def test_the_entrance_of_either_lists_the_rooms_of_both(visit, enter):
    """§7.5"""
    visitors = visit(0, "/"), visit(1, "/")
    ada = enter(0, "kitchen", "Ada")
    enter(1, "kitchen", "Grace")
    enter(1, "garden", "Linus")
    for visitor in visitors:
        expect(rooms(visitor)).to_have_text(["kitchen 2 people", "garden 1 person"])
    ada.close()
    for visitor in visitors:
        expect(rooms(visitor)).to_have_text(["garden 1 person", "kitchen 1 person"])


def test_the_ticker_tells_both_the_same(visit):
    """§7.6"""
    ada, grace = visit(0, "/live/"), visit(1, "/live/")
    for page in (ada, grace):
        expect(page.locator("#watching")).to_have_text("2")
    grace.close()
    expect(ada.locator("#watching")).to_have_text("1")


def test_a_note_reaches_all_pages_of_one_person(visit):
    """§7.5"""
    ada = visit(0, "/live/?name=Ada")
    graces = visit(0, "/live/?name=Grace"), visit(1, "/live/?name=Grace")
    for page in (ada, *graces):
        expect(state(page)).to_have_text("Connected")
    ada.get_by_label("To", exact=True).fill("Grace")
    ada.get_by_label("Note", exact=True).fill("Tea is ready")
    ada.get_by_role("button", name="Send").click()
    for page in graces:
        notes = page.get_by_role("list", name="Notes for you").get_by_role("listitem")
        expect(notes).to_have_text(["Ada Tea is ready"])


def test_a_job_is_watched_from_the_other_worker(visit):
    """§7.1"""
    ada, grace = visit(0, "/live/"), visit(1, "/live/")
    start = "() => fetch('/live/jobs', {method: 'POST'}).then(answer => answer.json())"
    events = ada.evaluate(start)["events"]
    last = grace.evaluate(
        """events => new Promise((done, failed) => {
            const job = new EventSource(events);
            job.addEventListener("job.progress", ({ data }) => {
                const { done: steps, of } = JSON.parse(data);
                if (steps === of) { job.close(); done(steps); }
            });
            job.onerror = failed;
        })""",
        events,
    )
    assert last == 40


def test_what_is_no_job_is_not_found(visit):
    page = visit(0, "/")
    for pid in ("nonsense", "proc@elsewhere/AAAAAAAAAAAAAAAA"):
        assert page.request.get(f"{page.url}live/jobs/{pid}/events").status == 404


def kill(way):
    """Kill the worker to which a way leads; its node is named after machine and process id."""
    os.kill(int(way.node.removeprefix(f"{socket.gethostname()}-").split("-")[0]), signal.SIGKILL)


def test_who_was_on_a_worker_that_is_killed_has_left(workers, enter):
    """§7.2: it could say goodbye to nobody."""
    ada = enter(0, "yard", "Ada")  # and there the room lives
    enter(1, "yard", "Grace")
    expect(people(ada)).to_have_text(["Ada", "Grace"])
    kill(workers[1])
    expect(people(ada)).to_have_text(["Ada"])
    expect(ada.get_by_role("log")).to_contain_text("Grace left")
    expect(state(ada)).to_have_text("Connected")


def test_a_room_whose_worker_is_killed_is_opened_again_by_who_was_in_it(workers, enter):
    """§7.2"""
    enter(1, "porch", "Grace")
    ada = enter(0, "porch", "Ada")
    say(ada, "before")
    expect(said(ada)).to_have_text(["before"])
    kill(workers[1])
    expect(people(ada)).to_have_text(["Ada"])
    expect(state(ada)).to_have_text("Connected")
    say(ada, "after")
    expect(said(ada)).to_have_text(["before", "after"])


@pytest.mark.parametrize("path", ["/rooms/den?nick=Ada", "/live/", "/"])
def test_a_phone_shows_it_all_without_scrolling_sideways(visit, path):
    page = visit(1, path, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
