"""Redis over TLS (§7.1)."""

import pytest

from greenrelay.cluster.redis import open_redis
from greenrelay.errors import ClusterError
from greenrelay.testing import wait_until
from tests.cluster.backends import SECONDS, Recorder, new_member
from tests.cluster.redis_servers import need_redis

need_redis()


@pytest.fixture
def tls_server(start_server, certificate):
    cert, key = certificate
    return start_server(
        tls_cert_file=cert, tls_key_file=key, tls_ca_cert_file=cert, tls_auth_clients="no"
    )


def refused(url):
    backend, me = open_redis(url), new_member("one")
    with pytest.raises(ClusterError) as caught:
        backend.start(me, Recorder(me))
    return str(caught.value)


def test_members_talk_over_tls(tls_server, certificate, join):
    url = f"rediss://localhost:{tls_server.port}?ssl_ca_certs={certificate[0]}"
    one, two = join("one", url), join("two", url)
    wait_until(lambda: one.receiver.members, SECONDS)
    sent = [bytes([number]) * 300_000 for number in range(20)]
    for data in sent:
        one.backend.publish(two.me, data)
    wait_until(lambda: two.got_of(one) == sent, SECONDS)


def test_an_unknown_certificate_is_told(tls_server):
    text = refused(f"rediss://:hidden@localhost:{tls_server.port}")
    assert "certificate" in text.lower()
    assert "hidden" not in text


def test_a_certificate_of_another_name_is_told(tls_server, certificate):
    url = f"rediss://127.0.0.1:{tls_server.port}?ssl_ca_certs={certificate[0]}"
    assert "certificate" in refused(url).lower()


def test_a_certificate_may_be_taken_as_it_is(tls_server, join):
    join("one", f"rediss://127.0.0.1:{tls_server.port}?ssl_cert_reqs=none")


def test_a_missing_file_of_certificates_is_told(tls_server):
    url = f"rediss://localhost:{tls_server.port}?ssl_ca_certs=/nowhere.pem"
    assert "nowhere.pem" in refused(url)


def test_a_server_without_tls_is_told(server, monkeypatch):
    monkeypatch.setattr("greenrelay.cluster.redis_link.CONNECT_SECONDS", 0.2)
    assert "Redis at" in refused(f"rediss://localhost:{server.port}")
