"""What proxies say of a request, of whom only the nearest is trusted (§6.2)."""

import pytest

from greenrelay.protocol.origins import OriginPolicy, read_claim

PROXY = "10.0.0.7"


@pytest.mark.parametrize("comma", [", ", ","])
def test_nearest_of_three_proxies_is_believed(comma):
    """§6.2: what the client itself wrote is the first of them."""
    environ = {
        "REMOTE_ADDR": PROXY,
        "HTTP_ORIGIN": "https://app.example.com",
        "HTTP_HOST": "inner.example",
        "wsgi.url_scheme": "http",
        "HTTP_X_FORWARDED_PROTO": comma.join(["http", "http", "https"]),
        "HTTP_X_FORWARDED_HOST": comma.join(["evil.example", "cdn.example", "app.example.com"]),
    }
    own = OriginPolicy(trusted_proxies=[PROXY]).own_origin(read_claim(environ))
    assert (own.scheme, own.host) == ("https", "app.example.com")
