"""`pcinv benchmark classification` and its like, and `pcinv check --all`."""

import pytest
from helpers.tiny_run import use_tiny

from pcinv.engine.trial_store import MEASURED

SHORT = ("--epochs", 1, "--device", "cpu", "--set", "data.num_points=32", "--set",
         "train.batch_size=6")


@pytest.fixture
def tiny(monkeypatch):
    use_tiny(monkeypatch)


class TestSideBySide:
    def test_a_table_of_what_the_folder_holds(self, ask, run, tiny, tmp_path):
        first = ask("benchmark", "classification", "--backbone", "parot", "--seeds", "0,1",
                    "--trained", "z", *SHORT, "-o", "out")["result"]
        row, = first["table"]
        assert (row["backbone"], row["trained"], row["seeds"]) == ("parot", "z", [0, 1])
        assert row["mean"]["so3"] == pytest.approx(sum(row["each"]["so3"]) / 2)
        assert len(first["trials"]) == 2 and (tmp_path / "out" / "parot-z-1" / MEASURED).is_file()
        done = run("benchmark", "classification", "--backbone", "pointnet", *SHORT, "-o", "out")
        assert done.code == 0
        assert [line.split()[0] for line in done.out.splitlines()[1:4]] == [
            "parot", "pointnet", "pointnet"]
        assert "1 epochs, 9 test clouds" in done.out

    @pytest.mark.parametrize(("verb", "score"), [("part-segmentation", "instance_miou")])
    def test_other_tasks_have_their_own_score(self, ask, tiny, verb, score):
        found = ask("benchmark", verb, "--backbone", "parot", "--trained", "z", *SHORT, "-o",
                    "out")["result"]
        assert found["table"][0]["score"] == score

    def test_a_dry_run_trains_nothing(self, ask, run, tmp_path):
        rows = ask("benchmark", "normals", "-o", "out", "--dry-run")["result"]["trials"]
        assert {row["trial"] for row in rows} >= {"fa_pointnet-z-0", "tinvnn-z-2", "dgcnn-so3-0"}
        assert not any(row["done"] for row in rows) and not (tmp_path / "out").exists()

    @pytest.mark.parametrize(("args", "said"), [
        (["--seeds", "1,x"], "whole numbers"), (["--backbone", "parrot"], "parot"),
        (["--set", "optim.l=1"], "optim.lr"), (["--dataset", "modelnet11"], "modelnet10")])
    def test_bad_input(self, ask, args, said):
        whole = ask("benchmark", "classification", "-o", "out", *args, code=2)
        assert said in whole["error"]["hint"]

    def test_a_folder_with_other_settings(self, ask, tiny):
        args = ("benchmark", "classification", "--backbone", "parot", "--trained", "z")
        ask(*args, *SHORT, "-o", "out")
        whole = ask(*args, *SHORT, "--set", "optim.lr=0.5", "-o", "out", code=2)
        assert "optim.lr" in whole["error"]["message"]


class TestCheckAll:
    @pytest.fixture
    def checked(self, monkeypatch):
        errors = {"risurconv": 1e-7, "pointnet": 0.9}
        monkeypatch.setattr("pcinv.models.registry.list_models", lambda: list(errors))

        def check(name, **options):
            assert options["rotations"] == 40
            worst = errors[name]
            return {"max_error": worst, "tied_error": 0.0, "passed": worst < 1e-5}

        monkeypatch.setattr("pcinv.check", check, raising=False)
        return errors

    def test_a_row_for_each(self, ask, run, checked):
        found = ask("check", "--all")["result"]
        assert found["passed"] and [row["backbone"] for row in found["backbones"]] == list(checked)
        assert all(row["limits"] for row in found["backbones"])
        assert "promises none" in run("check", "--all").out

    def test_a_broken_promise_is_an_error(self, ask, checked):
        checked["risurconv"] = 1e-3
        whole = ask("check", "--all", code=1)
        assert whole["error"]["where"] == "risurconv" and not whole["result"]["passed"]

    @pytest.mark.parametrize("args", [["parot"], ["--dtype", "float64"], ["--task", "normals"]])
    def test_it_goes_with_no_single_one(self, ask, args):
        assert "--all does not go with" in ask("check", "--all", *args, code=2)["error"]["message"]
