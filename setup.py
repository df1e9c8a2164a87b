"""What setup.cfg cannot say: the recipes of configs/ are installed as mamp/configs."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["mamp", "mamp.*", "launch", "launch.*"]), "mamp.configs"],
    package_dir={"mamp.configs": "configs"},
    package_data={"mamp": ["**/*.safetensors"], "mamp.configs": ["*.yaml"]},
)
