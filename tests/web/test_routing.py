"""Which rule an upgrade request reaches."""

import pytest
from flask import Flask
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect, Rule
from werkzeug.test import EnvironBuilder

from greenrelay.web.routing import accept_upgrades


@pytest.fixture
def app():
    app = Flask("routed")
    accept_upgrades(app)
    return app


def add_rule(app, path, endpoint, **options):
    app.url_map.add(Rule(path, endpoint=endpoint, **options))


def match(app, path):
    """Return the endpoint of an upgrade request."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    request = app.request_class(EnvironBuilder(path, headers=upgrade).get_environ())
    return app.create_url_adapter(request).match()[0]


def test_an_upgrade_reaches_an_ordinary_rule(app):
    add_rule(app, "/ws", "plain")
    assert match(app, "/ws") == "plain"


def test_an_upgrade_reaches_an_ordinary_rule_beside_websocket_rules(app):
    add_rule(app, "/other", "websocket", websocket=True)
    add_rule(app, "/ws", "plain")
    assert match(app, "/ws") == "plain"


def test_of_two_rules_the_websocket_rule_wins(app):
    add_rule(app, "/ws", "plain")
    add_rule(app, "/ws", "websocket", websocket=True)
    assert match(app, "/ws") == "websocket"


def test_a_websocket_rule_may_be_added_later(app):
    add_rule(app, "/ws", "plain")
    assert match(app, "/ws") == "plain"
    add_rule(app, "/ws", "websocket", websocket=True)
    assert match(app, "/ws") == "websocket"


def test_a_post_beside_the_view_does_not_hide_it(app):
    add_rule(app, "/other", "websocket", websocket=True)
    add_rule(app, "/ws", "post", methods=["POST"])
    add_rule(app, "/ws", "plain", methods=["GET"])
    assert match(app, "/ws") == "plain"


@pytest.mark.parametrize("other", [(), ("/other",)], ids=["alone", "beside websocket rules"])
def test_an_upgrade_may_leave_out_a_slash_where_others_may(app, other):
    for path in other:
        add_rule(app, path, "websocket", websocket=True)
    add_rule(app, "/ws/", "plain", strict_slashes=False)
    assert match(app, "/ws") == "plain"


def test_what_is_not_there_is_not_found(app):
    add_rule(app, "/ws", "plain")
    with pytest.raises(NotFound):
        match(app, "/nothing")


def test_a_rule_for_other_methods_is_not_reached(app):
    add_rule(app, "/ws", "post", methods=["POST"])
    with pytest.raises(MethodNotAllowed):
        match(app, "/ws")


def test_an_upgrade_without_a_strict_slash_is_redirected_as_a_page_is(app):
    """Who looks into the log, or into the browser's network panel, sees what is missing."""
    add_rule(app, "/ws/", "plain")
    with pytest.raises(RequestRedirect) as redirect:
        match(app, "/ws")
    assert redirect.value.new_url.endswith("://localhost/ws/")
