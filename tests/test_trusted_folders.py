"""Which folders nobody else can have written to: owners and modes, of a folder and those above."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from carousel import trusted_folders
from carousel.trusted_folders import (
    close_to_others,
    distrust,
    is_foreign,
    is_own_and_open_to_a_group,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners")
ANOTHER = 54_321  # the number of a user, or of a group, that nobody here is


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "above" / "cache").mkdir(parents=True)
    for path in (tmp_path / "above", tmp_path / "above" / "cache"):
        path.chmod(0o755)
    return tmp_path / "above" / "cache"


def owned(monkeypatch: pytest.MonkeyPatch, path: Path, *, user: int = -1, group: int = -1) -> None:
    """Pretend that a path has another owner or group: the test may not run as root."""

    def look(real):
        def stat(at):
            state = real(at)
            if Path(at) != path:
                return state
            uid, gid = (
                wanted if wanted >= 0 else own
                for wanted, own in ((user, state.st_uid), (group, state.st_gid))
            )
            return SimpleNamespace(st_mode=state.st_mode, st_uid=uid, st_gid=gid)

        return stat

    changed = {"stat": look(os.stat), "lstat": look(os.lstat)}
    monkeypatch.setattr(trusted_folders, "os", SimpleNamespace(**vars(os) | changed))


def test_a_folder_of_this_user_is_trusted_and_one_that_is_not_there(folder: Path) -> None:
    assert distrust(folder) is None
    assert distrust(folder / "new" / "one") is None


@pytest.mark.parametrize("level", [".", "..", "kernels.so"])
def test_another_owner_is_not_trusted(
    folder: Path, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "kernels.so").touch(0o644)
    path = Path(os.path.normpath(folder / level))
    owned(monkeypatch, path, user=ANOTHER)
    assert f"{path} belongs to another user" in (distrust(folder / "kernels.so") or "")
    owned(monkeypatch, path, user=0)
    assert distrust(folder / "kernels.so") is None


@pytest.mark.parametrize("level", [".", ".."])
def test_what_everybody_can_write_is_not_trusted(folder: Path, level: str) -> None:
    path = Path(os.path.normpath(folder / level))
    path.chmod(0o777)
    assert distrust(folder) == f"{path} can be written by everybody"
    path.chmod(0o1777)  # above, others cannot replace what is not theirs
    assert (distrust(folder) is None) == (level == "..")


def test_what_a_group_can_write_is_not_trusted_but_for_a_private_group(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.chmod(0o775)
    owned(monkeypatch, folder.parent, group=ANOTHER)
    assert "can be written by a group" in (distrust(folder) or "")
    own = SimpleNamespace(pw_name="ada", pw_gid=ANOTHER)
    for name, members, is_private in (
        ("ada", [], True),
        ("ada", ["ada"], True),
        ("ada", ["ada", "bob"], False),
        ("users", [], False),
    ):
        group = SimpleNamespace(gr_name=name, gr_gid=ANOTHER, gr_mem=members)
        known = {
            "pwd": SimpleNamespace(getpwuid=lambda number: own),
            "grp": SimpleNamespace(getgrgid=lambda number, group=group: group),
        }
        monkeypatch.setattr(trusted_folders, "import_module", known.__getitem__)
        assert (distrust(folder) is None) == is_private, (name, members)


def test_a_link_is_not_trusted(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert "is a symbolic link" in (distrust(folder.parent / "link") or "")
    assert distrust(Path(os.path.realpath(folder.parent / "link"))) is None


def test_a_text_cache_is_foreign_if_another_user_or_everybody_decides_on_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_foreign(folder) is None
    folder.chmod(0o775)
    assert is_foreign(folder) is None  # shared in a group, as some do
    folder.chmod(0o777)
    assert "by everybody" in (is_foreign(folder) or "")
    owned(monkeypatch, folder, user=ANOTHER)
    assert "another user" in (is_foreign(folder) or "")


def test_closing_takes_the_right_to_write_and_gives_none(folder: Path) -> None:
    for before, after in ((0o777, 0o755), (0o775, 0o755), (0o700, 0o700), (0o770, 0o750)):
        folder.chmod(before)
        assert is_own_and_open_to_a_group(folder) == (before in (0o775, 0o770))
        close_to_others(folder)
        assert folder.stat().st_mode & 0o777 == after


def test_where_there_are_no_owners_everything_is_trusted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.chmod(0o777)
    monkeypatch.setattr(trusted_folders, "HAS_OWNERS", False)
    assert distrust(folder) is is_foreign(folder) is None
    assert not is_own_and_open_to_a_group(folder)
