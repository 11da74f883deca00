"""What a Redis URL says, and what is wrong with one (§7.1)."""

import pytest

from greenrelay.cluster.redis_urls import Login, parse_redis_url
from greenrelay.errors import ConfigurationError


def test_a_url_has_its_parts():
    url = parse_redis_url("redis://me:p%40ss@redis.example:7000/3?deployment=blue&lease=4s")
    assert url.addresses == (("redis.example", 7000),)
    assert (url.login, url.db) == (Login("me", "p@ss"), 3)
    assert (url.deployment, url.lease) == ("blue", 4.0)


def test_a_short_url_has_defaults():
    url = parse_redis_url("redis://")
    assert (url.addresses, url.login, url.db) == ((("localhost", 6379),), Login(), 0)
    assert (url.deployment, url.lease, url.tls) == ("default", 15.0, None)


def test_a_sentinel_url_names_sentinels_and_service():
    url = parse_redis_url("redis+sentinel://:data@s1,s2:26380/mymaster/2?sentinel_password=watch")
    assert url.addresses == (("s1", 26379), ("s2", 26380))
    assert (url.service, url.db) == ("mymaster", 2)
    assert (url.login.password, url.sentinel_login.password) == ("data", "watch")


def test_a_cluster_url_names_several_hosts():
    url = parse_redis_url("redis+cluster://one:7000,[::1]:7001")
    assert url.addresses == (("one", 7000), ("::1", 7001))


def test_rediss_is_tls_and_verifies():
    tls = parse_redis_url("rediss://host?ssl_ca_certs=/ca.pem").tls
    assert (tls.ca_certs, tls.is_verified, tls.checks_hostname) == ("/ca.pem", True, True)


def test_tls_is_an_option_of_the_other_schemes():
    assert parse_redis_url("redis+cluster://host?tls=yes").tls is not None


def test_options_of_whoever_opens_the_backend_are_left_alone():
    parse_redis_url("redis://host?secret=s%20t&max_envelope=1MiB")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis://u:hidden@host?lesae=1s", id="option"),
        pytest.param("redis://u:hidden@host?lease=soon", id="lease"),
        pytest.param("redis://u:hidden@host?lease=10ms", id="short lease"),
        pytest.param("redis://u:hidden@host?deployment=a:b", id="deployment"),
        pytest.param("redis://u:hidden@host:port", id="port"),
        pytest.param("redis://u:hidden@one,two", id="two hosts"),
        pytest.param("redis://u:hidden@host/name", id="database"),
        pytest.param("redis+sentinel://u:hidden@host", id="service"),
        pytest.param("redis+cluster://u:hidden@host/1", id="database of a cluster"),
        pytest.param("redis://u:hidden@host?ssl_ca_certs=x", id="tls options without tls"),
        pytest.param("redis+cluster://u:hidden@host?tls=maybe", id="switch"),
        pytest.param("rediss://u:hidden@host?ssl_cert_reqs=optional", id="verification"),
        pytest.param("rabbit://u:hidden@host", id="scheme"),
    ],
)
def test_a_wrong_url_is_one_line_without_the_password(url):
    with pytest.raises(ConfigurationError) as caught:
        parse_redis_url(url)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'lease'"):
        parse_redis_url("redis://host?lesae=1s")


def test_a_url_for_people_has_no_password_and_no_options():
    url = parse_redis_url("redis://u:hidden@host:1/2?deployment=x&secret=y")
    assert url.shown == "redis://host:1/2"


def test_the_repr_of_a_url_has_no_password():
    url = parse_redis_url("redis+sentinel://u:hidden@host/svc?sentinel_password=covert")
    assert "hidden" not in repr(url)
    assert "covert" not in repr(url)
