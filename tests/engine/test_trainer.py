from pcinv.engine.evaluator import evaluate
from pcinv.engine.trainer import train
from pcinv.engine.tracking import read_lines


def test_training_gives_a_run_folder_with_everything(tiny, make_config, tmp_path):
    ticks = []
    run = train(make_config(train={"epochs": 20}), output=tmp_path / "run", callback=ticks.append)
    names = sorted(entry.name for entry in run.path.iterdir())
    assert names == ["best", "checkpoints", "config.toml", "env.json", "last", "log.txt", "metrics.jsonl"]
    lines = read_lines(run.path / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == list(range(1, 21))
    assert lines[-1]["oa"] > 0.8 and lines[-1]["val_oa"] > 0.8
    result = evaluate(run.path, device="cpu", rotation="so3")
    print(result, lines[-1], ticks[-1])
