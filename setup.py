"""The build script that Beam's --setup_file names; pyproject.toml holds everything there is to say."""

from setuptools import setup

setup()
