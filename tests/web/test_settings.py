"""What an app may configure (§10.1)."""

import pytest

from greenrelay import ConfigurationError, GreenRelay
from greenrelay.processes.interpreter import default_node


def test_app_without_settings_lives_on_the_interpreters_node(app):
    GreenRelay(app)
    assert app.wsgi_app.node is default_node()


def test_node_is_named_by_a_setting(app):
    app.config["GREENRELAY_NODE"] = "shop-7"
    GreenRelay(app)
    assert app.wsgi_app.node.name == "shop-7"


def test_unknown_setting_is_refused_with_the_nearest_known(app, node):
    app.config["GREENRELAY_TRUSTED_PROXY"] = "10.0.0.1"
    with pytest.raises(ConfigurationError, match="did you mean 'GREENRELAY_TRUSTED_PROXIES'"):
        GreenRelay(app, node=node)
    assert "greenrelay" not in app.extensions


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GREENRELAY_TRUSTED_PROXIES", "not an address"),
        ("GREENRELAY_ALLOWED_ORIGINS", "https://*"),
        ("GREENRELAY_ROUTERS", "/no/such/file.yaml"),
        ("GREENRELAY_ROUTERS", [{"name": "x", "kind": "nonsense"}]),
        ("GREENRELAY_DRAIN_SECONDS", "soon"),
        ("GREENRELAY_DRAIN_SECONDS", -1),
        ("GREENRELAY_NODE", "a/b"),
        ("GREENRELAY_MAX_CONNECTIONS", "many"),
        ("GREENRELAY_MAX_CONNECTIONS_PER_ADDRESS", -1),
    ],
)
def test_malformed_setting_is_refused_by_its_name(app, key, value):
    app.config[key] = value
    with pytest.raises(ConfigurationError, match=key):
        GreenRelay(app)


def test_settings_reach_the_middleware(app, node):
    app.config["GREENRELAY_DRAIN_SECONDS"] = 3
    app.config["GREENRELAY_TRUSTED_PROXIES"] = "127.0.0.1"
    GreenRelay(app, node=node)
    assert app.wsgi_app.drain_seconds == 3.0
    assert app.wsgi_app.trusted_proxies == "127.0.0.1"
