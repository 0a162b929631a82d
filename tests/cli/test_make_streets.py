"""`pcinv data make lidar_sim`: files of a street, resumed, and what does not go with it."""


def test_data_make_writes_a_street(ask, tmp_path):
    place = ("data", "make", "lidar_sim", "-o", tmp_path / "street", "--beams", 16)
    made = ask(*place, "--scans", 2)["result"]
    assert made["num_scans"] == made["num_made"] == 2 and made["num_points"] > 10_000
    assert ask(*place, "--scans", 3)["result"]["num_made"] == 1
    assert ask(*place, "--scans", 2, code=2)["error"]["where"] == str(tmp_path / "street")
    told = ask("info", tmp_path / "street/sequences/00")["result"]["files"][0]
    assert told["format"] == "lidar_sim" and told["num_scans"] == 3
    assert ask("data", "verify", "lidar_sim", "--root", tmp_path / "street")["result"]["ok"]
    ask(*place, "--scans", 1, "--force")


def test_options_of_other_sets_are_told(ask, tmp_path):
    for name, option in (("lidar_sim", "--points"), ("shapes", "--scans")):
        whole = ask("data", "make", name, "-o", tmp_path / "x", option, 5, code=2)
        assert whole["error"]["where"] == option
    whole = ask("data", "make", "lidar_sim", "-o", tmp_path / "x", "--beams", 20, code=3)
    assert "beams is 20" in whole["error"]["message"] and not (tmp_path / "x").exists()
    assert not ask("data", "info", "lidar_sim")["result"]["needs_root"]
