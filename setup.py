"""The distribution `gansynth-beam`: what Dataflow's --setup_file and `pip install .` install."""

from setuptools import find_packages, setup

RENDER = [
    "apache-beam[gcp]==2.77.*",
    "audioop-lts; python_version >= '3.13'",
    "fsspec",
    "gcsfs",
    "jinja2",
    "librosa>=0.11",
    "matplotlib",
    "mido",
    "note-seq==0.0.5",
    "numpy",
    "pillow",
    "pyarrow",
    "pydantic>=2",
    "pyloudnorm>=0.2,<0.3",
    "pyyaml",
    "rich",
    "scipy",
    "soundfile",
    "soxr>=0.5",
    "tenacity",
    "tensorflow==2.21.*",
]

# magenta 2.1.4 pins 24 packages of 2022; requirements/compile.sh drops those pins when it locks.
REFERENCE = [
    "magenta==2.1.4",
    "setuptools<81",
    "tensorflow-datasets",
    "tensorflow-gan==2.1.0",
    "tensorflow-probability==0.25.0",
    "tf-keras==2.21.*",
    "tf-slim==1.1.0",
]

DEV = [
    "gcp-storage-emulator",
    "hypothesis",
    "ipykernel",
    "mypy",
    "nbclient",
    "nbformat",
    "playwright",
    "psutil",
    "pytest",
    "pytest-timeout",
    "ruff",
    "types-psutil",
    "types-PyYAML",
]

setup(
    name="gansynth-beam",
    version="0.1.0",
    description="Batch rendering of MIDI corpora with GANSynth on Apache Beam",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["gansynth*", "transforms*", "pipeline*"]),
    package_data={
        "gansynth": ["py.typed", "mini/*", "mini/stage_*/*", "kits/*/*", "kits/*/*/*"],
        "pipeline": ["templates/*"],
    },
    install_requires=RENDER,
    extras_require={"gpu": ["tensorflow[and-cuda]==2.21.*"], "reference": REFERENCE, "dev": DEV},
    entry_points={"console_scripts": ["gansynth-beam = pipeline.terminal:command"]},
)
