"""What all tests share: hypothesis without a stopwatch, because the machine may be busy with something else."""

from hypothesis import settings

settings.register_profile("sluice", deadline=None, max_examples=50)
settings.load_profile("sluice")
