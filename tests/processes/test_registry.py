"""Names: unique, and gone when their holder is (§2)."""

import pytest

from greenrelay.errors import NameNotRegistered, NameTaken
from greenrelay.pid import PID
from greenrelay.processes.registry import Registry

A, B = (PID(f"proc@test/{letter * 16}") for letter in "ab")


@pytest.fixture
def registry():
    registry = Registry()
    registry.register("name", A)
    return registry


def test_name_has_one_holder(registry):
    with pytest.raises(NameTaken, match=f"the name 'name' is taken by {A}") as caught:
        registry.register("name", B)
    assert (caught.value.name, caught.value.holder) == ("name", A)
    assert registry.lookup("name") == A
    assert registry.names(B) == frozenset()


def test_registering_again_is_no_error(registry):
    registry.register("name", A)
    registry.unregister("name")
    assert len(registry) == 0


def test_process_may_hold_several_names(registry):
    registry.register("other", A)
    assert registry.names(A) == {"name", "other"}


def test_unregistered_name_is_free(registry):
    assert registry.unregister("name")
    assert registry.lookup("name") is None
    registry.register("name", B)
    assert registry.resolve("name") == B


def test_unregister_of_a_free_name_says_so(registry):
    assert not registry.unregister("nobody")


def test_unknown_name_is_an_error_that_says_what_to_do(registry):
    with pytest.raises(NameNotRegistered, match=r"nobody holds .*'x'; spawn\(…, name='x'\)"):
        registry.resolve("x")


def test_all_names_of_an_ended_process_are_free(registry):
    registry.register("other", A)
    registry.register("third", B)
    registry.remove(A)
    registry.remove(A)
    assert [registry.lookup(name) for name in ("name", "other", "third")] == [None, None, B]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("a@b", id="like a PID"),
        pytest.param(7, id="no string"),
        pytest.param(None, id="none"),
    ],
)
def test_what_could_be_a_pid_is_no_name(registry, name):
    with pytest.raises(ValueError, match="a name is a string that is not empty and has no '@'"):
        registry.register(name, A)
    assert registry.names(A) == {"name"}


def test_freed_name_of_a_process_does_not_fall_with_it_from_its_next_holder(registry):
    """Or the end of its former holder would take it from whoever has it now."""
    registry.register("other", A)
    registry.unregister("name")
    assert registry.names(A) == {"other"}
    registry.register("name", B)
    registry.remove(A)
    assert registry.lookup("name") == B
    assert registry.lookup("other") is None
