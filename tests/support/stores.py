"""Reads and compares the HDF5 files of two runs."""
import h5py
import numpy as np

STAGE_FILES = {"corpus": "corpus.h5", "dictionary": "dictionary.h5", "activations": "activations.h5",
               "selection": "selection.h5", "baseline": "baseline.h5", "erasure": "edits.h5",
               "evaluation": "evaluation.h5", "relearning": "relearning.h5"}
OF_ONE_RUN = {"run_id", "created"}  # attributes that differ between two runs


def contents(path):
    """{dataset's or attribute's name: value} of a whole file, but for what it took to compute it."""
    values = {}

    def collect(name, item):
        values.update({f"{name}@{key}": value for key, value in item.attrs.items() if key not in OF_ONE_RUN})
        if isinstance(item, h5py.Dataset) and not name.endswith(("/seconds", "/share_computed")):
            values[name] = item[()]

    with h5py.File(path, "r") as file:
        collect("/", file)
        file.visititems(collect)
    return values


def is_complete(path):
    """Published and marked as complete."""
    if not path.exists():
        return False
    with h5py.File(path, "r") as file:
        return file.attrs["complete"] == 1


def assert_same(run, reference, rtol=1e-5, atol=1e-7, stages=STAGE_FILES):
    """Every dataset of every stage: equal shapes and whole numbers, floating-point numbers to the tolerance."""
    for stage in stages:
        name = STAGE_FILES[stage]
        assert is_complete(run / name), f"{name} is not complete"
        ours, theirs = contents(run / name), contents(reference / name)
        assert ours.keys() == theirs.keys(), name
        for key, value in theirs.items():
            assert_equal(f"{name}: {key}", ours[key], value, rtol, atol)


def assert_equal(what, ours, theirs, rtol, atol):
    if np.issubdtype(np.asarray(theirs).dtype, np.floating):
        np.testing.assert_allclose(ours, theirs, rtol, atol, err_msg=what)
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=what)


def leftovers(run):
    """Files that were not published, and journals."""
    return sorted(str(path.relative_to(run)) for path in run.rglob("*")
                  if path.name.endswith(".partial") or path.suffix == ".jnl")
