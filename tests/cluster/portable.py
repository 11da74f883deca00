"""What can travel to another node, as hypothesis makes it, and how it arrives."""

import math
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from greenrelay.message import MonitorRef
from greenrelay.pid import PID

_part = st.from_regex(r"[^@/\s\x00-\x1f\x7f\ud800-\udfff]{1,20}", fullmatch=True)
pids = st.builds(PID.make, _part, _part, st.binary(min_size=12, max_size=16))
refs = st.builds(MonitorRef, pids, st.integers(0, 2**64 - 1))
# Whole seconds: fromisoformat() of CPython takes an offset below one for none.
offsets = st.one_of(
    st.integers(-23 * 3600, 23 * 3600).map(lambda seconds: timezone(timedelta(seconds=seconds))),
    st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), timezone.utc]),
)
folds = st.sampled_from([0, 1])
naive = st.builds(lambda when, fold: when.replace(fold=fold), st.datetimes(), folds)
aware = st.datetimes(datetime(1900, 1, 1), timezones=offsets)
times = st.times(timezones=st.none() | st.just(timezone.utc))

keys = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
) | st.one_of(naive, st.dates(), times, st.decimals(allow_nan=False), st.uuids(), pids, refs)
scalars = keys | st.floats() | st.decimals() | aware
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=8)
    ),
    max_leaves=30,
)


def is_as_sent(sent, got):
    """Tell whether `got` is what `sent` is after its way."""
    if isinstance(sent, tuple) and type(sent) is not MonitorRef:
        sent = list(sent)
    if type(sent) is not type(got):
        return False
    if isinstance(sent, list):
        return len(sent) == len(got) and all(map(is_as_sent, sent, got))
    if isinstance(sent, dict):
        ours, theirs = [list(sent), list(sent.values())], [list(got), list(got.values())]
        return is_as_sent(ours, theirs)
    if isinstance(sent, float):
        return sent == got or (math.isnan(sent) and math.isnan(got))
    if isinstance(sent, Decimal):
        return str(sent) == str(got)
    if isinstance(sent, (datetime, time)):
        return _clock(sent) == _clock(got)  # in an hour that is there twice none is `==`
    return sent == got


def _clock(when):
    fold = when.fold if when.tzinfo is None else None
    return when.replace(tzinfo=None).isoformat(), when.utcoffset(), fold
