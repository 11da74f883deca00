"""Names in Redis, and what stands in them (§7.9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from greenrelay.cluster.backend import Member
from greenrelay.cluster.redis_keys import (
    Keys,
    read_bundle,
    read_member,
    write_bundle,
    write_member,
)

KEYS = Keys("blue")
MEMBER = Member("web:1", "abcdefghijklmno-")
SHARED = [KEYS.members, KEYS.lost, KEYS.version, KEYS.names, KEYS.events]


@pytest.mark.parametrize("name", [*SHARED, KEYS.names_of("x"), KEYS.channel(MEMBER)])
def test_every_name_starts_with_its_deployment(name):
    assert name.startswith("greenrelay:blue:")


def test_what_a_script_needs_is_in_one_slot():
    assert len({key_slot(key.encode()) for key in [*SHARED, KEYS.names_of("{x}:web")]}) == 1


def test_channels_of_members_spread_over_the_slots():
    channels = [KEYS.channel(Member(f"web{n}", MEMBER.incarnation)) for n in range(50)]
    assert len({key_slot(channel.encode()) for channel in channels}) > 40


def test_a_member_survives_its_text():
    assert read_member(write_member(MEMBER)) == MEMBER


@given(st.lists(st.binary()))
def test_a_bundle_survives_its_bytes(items):
    assert read_bundle(write_bundle(write_member(MEMBER), items)) == (MEMBER, items)


@given(st.binary())
def test_other_bytes_are_no_bundle(data):
    with pytest.raises(ValueError, match=r"no |is no"):
        read_bundle(data)
