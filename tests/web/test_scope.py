"""A response's body: each step is made in its request's scope, and only where code runs (§2.9)."""

import pytest

from greenrelay.web.scope import ScopedBody, close_body, scoped


class Scope:
    """Notes whether it is entered."""

    def __init__(self):
        self.is_entered = False

    def __enter__(self):
        self.is_entered = True

    def __exit__(self, *error):
        self.is_entered = False


class Wrapper:
    """A server's file wrapper."""


@pytest.fixture
def scope():
    return Scope()


@pytest.mark.parametrize("body", [[b"a"], (b"a",), Wrapper()], ids=["list", "tuple", "file"])
def test_a_body_without_code_of_the_app_goes_out_as_it_is(scope, body):
    assert scoped(body, Wrapper, scope) is body


def test_a_wrapper_that_is_no_class_hides_no_generator(scope):
    assert isinstance(scoped(iter([b"a"]), lambda file: file, scope), ScopedBody)


def test_each_step_is_made_in_the_scope_and_none_is_between(scope):
    seen = []

    def body():
        for chunk in (b"a", b"b"):
            seen.append(scope.is_entered)
            yield chunk
        seen.append(scope.is_entered)

    for _ in scoped(body(), None, scope):
        assert not scope.is_entered
    assert seen == [True, True, True]


def test_an_error_of_the_body_leaves_the_scope(scope):
    def body():
        yield b"a"
        raise LookupError

    chunks = scoped(body(), None, scope)
    assert next(chunks) == b"a"
    with pytest.raises(LookupError):
        next(chunks)
    assert not scope.is_entered


def test_a_body_is_closed_in_the_scope(scope):
    seen = []

    def body():
        try:
            yield b"a"
        finally:
            seen.append(scope.is_entered)

    chunks = scoped(body(), None, scope)
    next(chunks)
    chunks.close()
    assert seen == [True]


def test_a_body_that_can_not_be_closed_needs_none():
    close_body([b"a"])
