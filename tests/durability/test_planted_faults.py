"""The quick tests see each fault that they are there for: planted in a copy, it makes them fail."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import NamedTuple

import pytest

from anchors import Edit, edited
from budgets import torture, torture_only
from conftest import ROOT
from renaming import assert_names_do_not_matter

POWER, DISK = "durability/test_power_loss.py", "durability/test_failing_disk.py"
FILES, RUN_FOLDER = "files.py", "training/run_folder.py"
NOT_OURS = "cli/test_not_ours.py"
DAMAGE, RESUME = "models/test_checkpoint_damage.py", "training/test_exact_resume.py"


class Fault(NamedTuple):
    """One edit of a file of src/carousel, and tests that must fail then."""

    file: str
    edit: Edit
    tests: tuple[str, ...]


POINTED = """
for pointer, k in (("last", step), ("best", best)):
    write_durably(self.root / pointer, f"{step_name(k)}\\n".encode())
"""
BEFORE = "before = [k for k in saved if k < step]\n"
REMOVED = """
for k in set(saved) - {step, best, *before[-1:]}:
    with suppress(OSError):
        self._remove(k)
"""
FAULTS = {
    "no fsync of a file": Fault(
        FILES, Edit("_write_new", "sync_file(descriptor)", ""), (POWER, "test_files.py")
    ),
    "no fsync of the hidden folder": Fault(
        FILES,
        Edit("_appearing", "sync_folder(temporary)", ""),
        (POWER, "test_files.py"),
    ),
    "no fsync after a file's rename": Fault(
        FILES, Edit("write_durably", "sync_folder(path.parent)", ""), (POWER, "test_files.py")
    ),
    "no fsync after a folder's rename": Fault(
        FILES, Edit("_appearing", "sync_folder(folder.parent)", ""), (POWER, "test_files.py")
    ),
    "no fsync between a removed name and its files": Fault(
        FILES, Edit("remove_folder", "sync_folder(folder.parent)", ""), (POWER, "test_files.py")
    ),
    "no fsync after mkdir": Fault(
        FILES,
        Edit(
            "make_folder",
            "_make_one(folder, made)\nsync_folder(folder.parent)",
            "_make_one(folder, made)",
        ),
        (POWER, "test_files.py"),
    ),
    "no fsync of a folder that a killed process made": Fault(
        FILES,
        Edit(
            "make_folder",
            "with _passing_over(_, _1, _2):\n    sync_folder(folder.parent)",
            "",
        ),
        (POWER, "test_files.py"),
    ),
    "rename before the fsync of the files": Fault(
        FILES,
        Edit(
            "_appearing",
            "sync_folder(temporary)\nif os.path.lexists(folder):\n    raise _",
            "_rename(os.rename, temporary, folder)\nsync_folder(folder)\n"
            "if not os.path.lexists(folder):\n    raise _",
        ),
        (POWER, "test_files.py"),
    ),
    "written in place": Fault(
        FILES,
        Edit(
            "write_durably",
            "temporary = _temporary_name(path)",
            "temporary = path\nremove_file(path)",
        ),
        (POWER, DISK, "test_files.py"),
    ),
    "one write is taken for all": Fault(
        FILES,
        Edit(
            "write_all",
            "while left:\n    left = left[os.write(descriptor, left) :]",
            "os.write(descriptor, left)",
        ),
        (DISK, "test_files.py"),
    ),
    "no fsync of the metrics": Fault(
        "appender.py", Edit("Appender.sync", "sync_file(self._descriptor)", ""), (POWER,)
    ),
    "no fsync of the metrics' name": Fault(
        "appender.py",
        Edit("Appender.sync", "sync_folder(self._path.parent)", ""),
        (POWER, "test_files.py"),
    ),
    "no fsync when a run is found again": Fault(
        RUN_FOLDER, Edit("RunFolder.rewind", "sync_folder(self.checkpoints)", ""), (POWER,)
    ),
    "the pointers before the checkpoint": Fault(
        RUN_FOLDER,
        Edit(
            "RunFolder.save",
            "if is_plain_folder(folder):\n    sync_folder(self.checkpoints)\n"
            "else:\n    write_checkpoint(folder, files)\n"
            "self._settle(step, best)",
            "if is_plain_folder(folder):\n    sync_folder(self.checkpoints)\n"
            "else:\n    self._settle(step, best)\n    write_checkpoint(folder, files)",
        ),
        (POWER, DISK),
    ),
    "an old checkpoint removed before the pointers moved": Fault(
        RUN_FOLDER,
        Edit("RunFolder._settle", POINTED + BEFORE + REMOVED, BEFORE + REMOVED + POINTED),
        (POWER, DISK),
    ),
    "leftovers stay": Fault(
        RUN_FOLDER, Edit("RunFolder.prepare", "remove_leftovers_of_a_run(self.root)", ""), (DISK,)
    ),
    "no mark of a run": Fault(
        RUN_FOLDER,
        Edit("RunFolder.prepare", "write_mark(self.root)", ""),
        (DISK, "training/test_run_folder.py"),
    ),
    "a damaged checkpoint is kept": Fault(
        RUN_FOLDER, Edit("RunFolder.rewind", "k > step", "False"), (DISK,)
    ),
    "a failed start removes the folder with all in it": Fault(
        "training/run_claim.py",
        Edit("claimed", "_undo(root, before)", "__import__('shutil').rmtree(root)"),
        (NOT_OURS,),
    ),
    "a failed start removes folders that it did not make": Fault(
        FILES,
        Edit("remove_made", "os.rmdir(path)", "__import__('shutil').rmtree(path)"),
        (NOT_OURS,),
    ),
    "dots are left to the system": Fault(
        "plain_paths.py",
        Edit("resolved", 'Path(os.path.realpath(path)) if ".." in path.parts else path', "path"),
        (NOT_OURS,),
    ),
    "any folder is a run": Fault(
        "training/run_mark.py", Edit("check_run", "is_new(root)", "True"), (NOT_OURS,)
    ),
    "a run may be called after dots": Fault(
        "cli/runs.py",
        Edit(
            "_safe",
            'return safe if safe.strip(". ") else "text"',
            "return name",
            given='safe = name.replace("/", "-").replace(os.sep, "-").lstrip("-")',
        ),
        (NOT_OURS,),
    ),
    "what a lock file holds does not count": Fault(
        "locks.py",
        Edit("_open_lock", "not _holds_a_pid(os.read(descriptor, 21))", "False"),
        (NOT_OURS,),
    ),
    "a sample is written through a link": Fault(
        RUN_FOLDER,
        Edit(
            "RunFolder.write_sample",
            "write_durably(_, text.encode())",
            "_.write_text(text)",
        ),
        (NOT_OURS,),
    ),
    "a figure is written through a link": Fault(
        "inspection/figures.py",
        Edit("drawn", "write_durably(path, content)", "path.write_bytes(content)"),
        (NOT_OURS,),
    ),
    "a checkpoint is removed with a user's notes": Fault(
        RUN_FOLDER,
        Edit("RunFolder._remove", "(foreign := foreign_names(folder))", "(foreign := [])"),
        (NOT_OURS,),
    ),
    "links in the cache are followed": Fault(
        "data/cache.py",
        Edit("size_on_disk", "is_plain_folder(path)", "path.is_dir()"),
        ("data/test_cache.py",),
    ),
    "a prepared text is known by its name": Fault(
        "data/cache.py",
        Edit("is_entry", "if not all(_1):\n    return False\nreturn _2", "return True"),
        (NOT_OURS,),
    ),
    "stamps are known by their names": Fault(
        "data/cache.py",
        Edit(
            "_is_stamp",
            "if path.lstat().st_size != 64:\n    return False\nreturn _",
            "return True",
        ),
        (NOT_OURS,),
    ),
    "the content is not held against the manifest": Fault(
        "models/checkpoint_files.py",
        Edit("_read", "hashlib.sha256(data).hexdigest() != sha256", "False"),
        (DAMAGE,),
    ),
    "the random state is not put back": Fault(
        "training/trainer.py", Edit("restore", "set_random_state(_)", ""), (RESUME,)
    ),
    "the carried state is not saved": Fault(
        "training/trainer.py",
        Edit("state_files", 'tensors[f"carried.{k}"] = tensor', ""),
        (RESUME,),
    ),
}


def fails(source: Path, tests: str) -> bool:
    """Run tests in their quick form on another copy of the code; say whether any failed."""
    environment = {k: v for k, v in os.environ.items() if k != "CAROUSEL_TORTURE"}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{tests}"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode in (0, 1), finished.stdout  # 2 and above: the tests did not run
    return finished.returncode == 1


def copied(folder: Path) -> Path:
    copytree(ROOT / "src" / "carousel", folder / "carousel", ignore=ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_finds_its_place_whatever_the_locals_are_called(fault: Fault) -> None:
    text = (ROOT / "src" / "carousel" / fault.file).read_text(encoding="utf-8")
    assert_names_do_not_matter(text, [fault.edit])


@torture
@torture_only
def test_without_a_fault_they_pass(tmp_path: Path) -> None:
    source = copied(tmp_path)
    program = "import carousel; print(carousel.__file__)"
    environment = os.environ | {"PYTHONPATH": str(source)}
    used = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert Path(used.strip()).is_relative_to(source), "the tests would run on the original"
    for tests in sorted({tests for fault in FAULTS.values() for tests in fault.tests}):
        assert not fails(source, tests), tests


@torture
@torture_only
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(fault: Fault, tmp_path: Path) -> None:
    path = copied(tmp_path) / "carousel" / fault.file
    text = path.read_text(encoding="utf-8")
    path.write_text(edited(text, [fault.edit], fault.file), encoding="utf-8")
    for tests in fault.tests:
        assert fails(tmp_path, tests), tests
