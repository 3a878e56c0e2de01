"""What all tests have in common: properties are about results, never about time.

They try the same examples each time, so that a run says something about the change at hand; search
further with `--hypothesis-profile=explore`.
"""

from hypothesis import settings

settings.register_profile("explore", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")
