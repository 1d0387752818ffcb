"""Hypothesis for this folder: no test is judged by how long it takes on a busy machine."""

from hypothesis import settings

settings.register_profile("property", deadline=None, max_examples=60)
settings.load_profile("property")
