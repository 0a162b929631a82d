"""Build wheel and sdist, install the wheel into an empty environment, and use it there."""

import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {"pcinv", "pcinv_data", "pcinv_cli"}


def call(*args: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, args))}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def names_in(wheel: Path) -> set[str]:
    """Top-level names that the wheel installs, its own metadata aside."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    return {name for name in names if not name.endswith(".dist-info")}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        call(sys.executable, "-m", "build", "--outdir", out, ROOT)  # the wheel comes from the sdist
        wheel, = out.glob("*.whl")
        sdist, = out.glob("*.tar.gz")
        found = names_in(wheel)
        if found != TOP_LEVEL:
            sys.exit(f"the wheel installs {sorted(found)}, not {sorted(TOP_LEVEL)}")
        listed = tarfile.open(sdist).getnames()
        if not any(name.endswith("pyproject.toml") for name in listed):
            sys.exit("the sdist has no pyproject.toml")
        call(sys.executable, "-m", "venv", out / "env")
        python, pcinv = out / "env/bin/python", out / "env/bin/pcinv"
        pip = (python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
        call(*pip, "torch==2.13.0")
        call(*pip, wheel)
        call(pcinv, "--help", cwd=out)
        call(pcinv, "doctor", cwd=out)
        sample = ROOT / "data/samples/chair.ply"
        told = json.loads(call(pcinv, "info", sample, "--json", cwd=out))
        if told["result"]["files"][0]["num_points"] < 100:
            sys.exit("the installed console cannot read a sample")
        call(pcinv, "train", "--backbone", "risurconv", "--epochs", "1", "--set", "data.limit=28",
             "-o", "run", "--no-progress", cwd=out)
        call(pcinv, "predict", "run", sample, "--json", cwd=out)
        size = wheel.stat().st_size // 1000
        print(f"wheel of {size} kB: {', '.join(sorted(found))}; installed and used")


if __name__ == "__main__":
    main()
