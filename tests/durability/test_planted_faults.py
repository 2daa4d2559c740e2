"""The quick tests see each fault that they are there for: planted in a copy, it makes them fail."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import NamedTuple

import pytest

from amounts import torture, torture_only
from conftest import ROOT

POWER, DISK = "durability/test_power_loss.py", "durability/test_failing_disk.py"
FILES, RUN_FOLDER = "files.py", "training/run_folder.py"
NOT_OURS = "cli/test_not_ours.py"
DAMAGE, RESUME = "models/test_checkpoint_damage.py", "training/test_exact_resume.py"


class Fault(NamedTuple):
    """One edit of a file of src/carousel, and tests that must fail then."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]


FAULTS = {
    "no fsync of a file": Fault(
        FILES,
        "        write_all(descriptor, data)\n        sync_file(descriptor)\n",
        "        write_all(descriptor, data)\n",
        (POWER, "test_files.py"),
    ),
    "no fsync of the hidden folder": Fault(
        FILES, "        sync_folder(temporary)\n", "", (POWER, "test_files.py")
    ),
    "no fsync after a file's rename": Fault(
        FILES,
        "        _rename(os.replace, temporary, path)\n    sync_folder(path.parent)\n",
        "        _rename(os.replace, temporary, path)\n",
        (POWER, "test_files.py"),
    ),
    "no fsync after a folder's rename": Fault(
        FILES,
        "        _rename(os.rename, temporary, folder)\n    sync_folder(folder.parent)\n",
        "        _rename(os.rename, temporary, folder)\n",
        (POWER, "test_files.py"),
    ),
    "no fsync between a removed name and its files": Fault(
        FILES,
        "    sync_folder(folder.parent)  # the old name is gone",
        "    # the old name is not gone",
        (POWER, "test_files.py"),
    ),
    "no fsync after mkdir": Fault(
        FILES,
        "        _make_one(folder, made)\n        sync_folder(folder.parent)\n",
        "        _make_one(folder, made)\n",
        (POWER, "test_files.py"),
    ),
    "no fsync of a folder that a killed process made": Fault(
        FILES,
        "            sync_folder(folder.parent)\n        return []\n",
        "            pass\n        return []\n",
        (POWER, "test_files.py"),
    ),
    "rename before the fsync of the files": Fault(
        FILES,
        "        sync_folder(temporary)\n        if os.path.lexists(folder):",
        "        _rename(os.rename, temporary, folder)\n        sync_folder(folder)\n"
        "        if not os.path.lexists(folder):",
        (POWER, "test_files.py"),
    ),
    "written in place": Fault(
        FILES,
        "    temporary = _temporary_name(path)\n    with",
        "    temporary = path\n    remove_file(path)\n    with",
        (POWER, DISK, "test_files.py"),
    ),
    "one write is taken for all": Fault(
        FILES,
        "    while left:\n        left = left[os.write(descriptor, left) :]\n",
        "    os.write(descriptor, left)\n",
        (DISK, "test_files.py"),
    ),
    "no fsync of the metrics": Fault(
        "appender.py", "        sync_file(self._descriptor)\n", "", (POWER,)
    ),
    "no fsync of the metrics' name": Fault(
        "appender.py",
        "        if not self._is_named:\n            sync_folder(self._path.parent)\n",
        "        if not self._is_named:\n",
        (POWER, "test_files.py"),
    ),
    "no fsync when a run is found again": Fault(
        RUN_FOLDER,
        "            sync_folder(self.checkpoints)  # a kill may",
        "            # a kill may",
        (POWER,),
    ),
    "the pointers before the checkpoint": Fault(
        RUN_FOLDER,
        "                write_checkpoint(folder, files)\n            self._settle(step, best)\n",
        "                self._settle(step, best)\n                write_checkpoint(folder, files)"
        "\n",
        (POWER, DISK),
    ),
    "an old checkpoint removed before the pointers moved": Fault(
        RUN_FOLDER,
        """        for pointer, k in (("last", step), ("best", best)):
            write_durably(self.root / pointer, f"{step_name(k)}\\n".encode())
        before = [k for k in saved if k < step]
        for k in set(saved) - {step, best, *before[-1:]}:
""",
        """        before = [k for k in saved if k < step]
        for k in set(saved) - {step, best, *before[-1:]}:
            self._remove(k)
        for pointer, k in (("last", step), ("best", best)):
            write_durably(self.root / pointer, f"{step_name(k)}\\n".encode())
        for k in ():
""",
        (POWER, DISK),
    ),
    "leftovers stay": Fault(
        RUN_FOLDER, "        remove_leftovers_of_a_run(self.root)\n", "", (DISK,)
    ),
    "no mark of a run": Fault(
        RUN_FOLDER, "            write_mark(self.root)\n", "", (DISK, "training/test_run_folder.py")
    ),
    "a damaged checkpoint is kept": Fault(
        RUN_FOLDER, "                if k > step:", "                if False:", (DISK,)
    ),
    "a failed start removes the folder with all in it": Fault(
        "training/run_claim.py",
        "                        _undo(root, before)\n",
        "                        __import__('shutil').rmtree(root)\n",
        (NOT_OURS,),
    ),
    "a failed start removes folders that it did not make": Fault(
        FILES,
        "                os.rmdir(path)\n",
        "                __import__('shutil').rmtree(path)\n",
        (NOT_OURS,),
    ),
    "dots are left to the system": Fault(
        "plain_paths.py",
        'return Path(os.path.realpath(path)) if ".." in path.parts else path',
        "return path",
        (NOT_OURS,),
    ),
    "any folder is a run": Fault(
        "training/run_mark.py",
        "    if is_new(root):\n        return\n",
        "    return\n",
        (NOT_OURS,),
    ),
    "a run may be called after dots": Fault(
        "cli/runs.py",
        'return safe if safe.strip(". ") else "text"',
        "return name",
        (NOT_OURS,),
    ),
    "what a lock file holds does not count": Fault(
        "locks.py",
        "        if not _holds_a_pid(os.read(descriptor, 21)):",
        "        if False:",
        (NOT_OURS,),
    ),
    "a sample is written through a link": Fault(
        RUN_FOLDER,
        'write_durably(samples / f"{step_name(step)}.txt", text.encode())',
        '(samples / f"{step_name(step)}.txt").write_text(text)',
        (NOT_OURS,),
    ),
    "a figure is written through a link": Fault(
        "analysis/figures.py",
        "write_durably(path, data.getvalue())",
        "path.write_bytes(data.getvalue())",
        (NOT_OURS,),
    ),
    "a checkpoint is removed with a user's notes": Fault(
        RUN_FOLDER,
        "if not (foreign := foreign_names(folder)):",
        "if not (foreign := []):",
        (NOT_OURS,),
    ),
    "links in the cache are followed": Fault(
        "text/cache.py",
        "        if is_plain_folder(path):\n            return sum(",
        "        if path.is_dir():\n            return sum(",
        ("text/test_cache.py",),
    ),
    "a prepared text is known by its name": Fault(
        "text/cache.py",
        "    return bool(content) and all(",
        "    return True or all(",
        (NOT_OURS,),
    ),
    "stamps are known by their names": Fault(
        "text/cache.py",
        "    return path.lstat().st_size == 64 and",
        "    return True or",
        (NOT_OURS,),
    ),
    "the content is not held against the manifest": Fault(
        "models/checkpoint.py",
        "    if hashlib.sha256(data).hexdigest() != sha256:",
        "    if False:",
        (DAMAGE,),
    ),
    "the random state is not put back": Fault(
        "training/trainer.py",
        "        set_random_state({name: state for name, state in generators if name in usable})\n",
        "",
        (RESUME,),
    ),
    "the carried state is not saved": Fault(
        "training/trainer.py",
        '        tensors[f"carried.{k}"] = tensor\n',
        "        pass\n",
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
    assert text.count(fault.old) == 1, "the code has changed: plant the fault anew"
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    for tests in fault.tests:
        assert fails(tmp_path, tests), tests
