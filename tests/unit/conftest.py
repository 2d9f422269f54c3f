"""Settings of hypothesis for the unit tests."""

import hypothesis

# How long an example takes is decided by what else the machine does.
hypothesis.settings.register_profile("fanfold", deadline=None)
hypothesis.settings.load_profile("fanfold")
