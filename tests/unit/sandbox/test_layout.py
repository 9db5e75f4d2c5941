"""Where a rack may be, and what its parts are called."""

import os
from pathlib import Path

import pytest

from holdfast.sandbox.errors import RackError
from holdfast.sandbox.layout import HostPlace, Layout, RackConfig, Storage, find_host, require_private


@pytest.mark.parametrize("text", ["2", "host2"])
def test_a_host_is_found_by_name_and_by_number(text: str) -> None:
    assert find_host(RackConfig(Path("/r"), hosts=3).places, text).address == "10.77.0.2"


@pytest.mark.parametrize("text", ["0", "4", "host4", "", "Host2"])
def test_an_unknown_host_is_refused_with_the_names_of_those_there_are(text: str) -> None:
    with pytest.raises(RackError, match="this rack has host1, host2, host3"):
        find_host(RackConfig(Path("/r"), hosts=3).places, text)


@pytest.mark.parametrize("hosts", [0, -1, 33])
def test_a_rack_of_no_or_too_many_hosts_is_refused(hosts: int) -> None:
    with pytest.raises(RackError, match="1 to 32"):
        RackConfig(Path("/r"), hosts=hosts)


@pytest.mark.parametrize("path", ["rack", "/a b", "/a'b", '/a"b', "/a,b", "/a\\b", "/" + 80 * "x"])
def test_a_directory_that_some_program_would_trip_over_is_refused(path: str) -> None:
    with pytest.raises(RackError, match="directory"):
        RackConfig(Path(path))


def test_the_longest_allowed_directory_still_has_room_for_its_sockets() -> None:
    assert len(str(Layout(RackConfig(Path("/" + 79 * "x")).directory).control)) <= 107


def test_what_was_built_can_be_read_back(tmp_path: Path) -> None:
    root = tmp_path / "rack"
    root.mkdir()
    config = RackConfig(Path("/r"), hosts=2, storage=Storage.NBD)
    Layout(root).create(config)
    assert Layout(root).config() == config
    assert (root / "datastores" / "0").is_dir()
    assert (root / "datastores" / "1").is_dir()
    assert Layout(root).host(HostPlace(2)).is_dir()


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"hosts": 3, "storage": "tape", "directory": "/r"}'])
def test_a_directory_without_a_good_marker_is_no_racks(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "rack.json").write_text(content, encoding="utf-8")
    with pytest.raises(RackError, match=r"rack\.json is missing or damaged"):
        Layout(tmp_path).config()


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "rack"
    root.mkdir(mode=0o700)
    require_private(root)
    root.chmod(0o777)
    with pytest.raises(RackError, match="others may write"):
        require_private(root)
    root.chmod(0o700)
    tmp_path.chmod(0o777)
    with pytest.raises(RackError, match="somebody else could replace"):
        require_private(root)


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    os.symlink("/etc", tmp_path / "rack")
    with pytest.raises(RackError, match="not a directory"):
        require_private(tmp_path / "rack")
