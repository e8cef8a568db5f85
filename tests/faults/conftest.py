import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import pytest

import launch
import tiny_run


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A directory with model/, catalog/ and run.cfg."""
    missing = tiny_run.what_is_missing()
    if missing:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("inputs")
    tiny_run.make_inputs(folder)
    return folder


@pytest.fixture(scope="session")
def config(base):
    return base / "run.cfg"


@pytest.fixture(scope="session")
def reference(base, config):
    """The run that nothing interrupted."""
    directory = base / "reference"
    done = launch.run(config, directory)
    assert done.returncode == launch.DONE, done.stderr
    return directory
