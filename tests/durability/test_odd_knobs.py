"""Settings with odd values. Two hundred seeded ones; fuzz.py makes more."""

from odd import settings
from odd.contract import breaches


def test_a_setting_is_refused_or_kept_as_it_was_given(tmp_path):
    assert breaches(settings.KINDS["knobs"], "knobs", tmp_path) == []
