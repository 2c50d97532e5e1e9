"""What all tests share: S3 and Prefect where asked for; hypothesis without a stopwatch, the machine may be busy."""

from hypothesis import settings

from tests.s3_fixtures import emulator, moto, s3
from tests.scenarios.prefect_server import prefect_server

__all__ = ["emulator", "moto", "prefect_server", "s3"]

settings.register_profile("sluice", deadline=None, max_examples=50)
settings.load_profile("sluice")
