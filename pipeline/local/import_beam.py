"""Apache Beam, imported without packages that no step of a local job uses: half a second and 100 MB less.

In this process Beam's connectors to Google Cloud, to Parquet and to data frames are then missing. The packages
themselves can still be imported; gansynth.io reads and writes without Beam.
"""

import sys

_UNUSED = (
    "google.cloud.bigquery",
    "google.cloud.dataflow_v1beta3",
    "google.cloud.pubsub",
    "google.cloud.storage",
    "pandas",
    "pyarrow",
)

_hidden = [name for name in _UNUSED if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]  # None makes an import fail
try:
    import apache_beam  # noqa: F401
finally:
    for _name in _hidden:
        del sys.modules[_name]
