"""Many pairs on the console: a list or a folder, its progress, its summary."""

from __future__ import annotations

from typing import Any

from pcinv_cli.failures import Failure
from pcinv_cli.output import Outcome, Talk
from pcinv_cli.progress import PairProgress


def register_many(talk: Talk, pairs: str | None, folder: str | None, output: str,
                  workers: dict[str, Any], force: bool, dry_run: bool, settings: dict[str, Any]
                  ) -> Outcome:
    """Register the pairs of a list or of a folder; exit code 1 if any is not trusted.

    workers : of `params.workers`.
    """
    from pcinv.registration.many import register_folder, register_pairs
    from pcinv.registration.pair_list import clouds_of, pairs_of, read_pairs

    given = {"pairs": pairs, "folder": folder, "output": output}
    if dry_run:
        listed = read_pairs(pairs) if pairs is not None else pairs_of(clouds_of(folder or ""))
        told = given | {"num_pairs": len(listed), "written": False}
        return Outcome(told, lambda t: t.result(f"would register {len(listed):,} pairs, and write "
                                                f"the answers to {output}"))
    with PairProgress(talk) as progress:
        options = {**workers, "force": force, "callback": progress, **settings}
        found = (register_pairs(pairs, output, **options) if pairs is not None
                 else register_folder(folder or "", output, **options))
    for name, message in getattr(getattr(found, "model", None), "unreadable", {}).items():
        talk.warn("unreadable", f"{name}: {message}")
    result = given | found.to_dict() | {"written": True}
    return Outcome(result, lambda t: _show(t, result), _gate(result))


def _gate(result: dict[str, Any]) -> Failure | None:
    """Fail unless all pairs of a list are trusted, or all clouds of a folder hang together."""
    if "groups" in result:
        sizes = sorted(map(len, result["groups"]), reverse=True)
        lost = len(result["unreadable"])
        if len(sizes) == 1 and not lost:
            return None
        rest = sum(sizes) - sum(sizes[:1])
        return Failure(1, "not-trusted", f"{rest} of {sum(sizes)} clouds are joined to the others "
                       f"by no trusted pair, {lost} could not be read", result["pairs_file"],
                       "scans that overlap more, or --pairs with motions to start from")
    counts = result["counts"]
    wrong = {name: count for name, count in counts.items() if name != "trusted" and count}
    if not wrong:
        return None
    said = ", ".join(f"{count} {name}" for name, count in wrong.items())
    return Failure(1, "not-trusted", f"not all of {result['num_pairs']} pairs are trusted: {said}",
                   result["pairs_file"], "each line there has the reasons, or the error")


def _show(talk: Talk, result: dict[str, Any]) -> None:
    talk.table(("verdict", "pairs"), list(result["counts"].items()))
    if result["num_skipped"]:
        talk.result(f"{result['num_skipped']:,} were done before (--force does them again)")
    if "groups" in result:
        sizes = [len(group) for group in result["groups"]]
        largest = max(sizes, default=0)
        talk.result(f"{largest} of {sum(sizes)} clouds hang together; {len(sizes)} groups")
        if result["num_in_doubt"]:
            talk.result(f"{result['num_in_doubt']} trusted pairs contradict the others: see "
                        f"{result['report_file']}")
    names = [result.get(key) for key in ("pairs_file", "poses_file", "model_file", "report_file")]
    talk.result(f"wrote {', '.join(name for name in names if name)}")
    if result.get("model_file"):
        talk.result(f"next: pcinv info {result['model_file']}")
