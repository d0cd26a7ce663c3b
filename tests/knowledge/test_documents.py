"""The corpus of `tests/fixtures/documents`: what a person sees of each file is read, in its order, and nothing else.

`python -m tests.knowledge.test_documents` (`make test-documents`) prints a report for each kind.
"""

# ruff: noqa: T201 - it is a command, too

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from gigachat_server.knowledge.extraction.child import read

FOLDER = Path(__file__).parent.parent / "fixtures" / "documents"
LEAST = 0.995


class Report:
    """Of the files of one kind: how many characters a person sees, how many of them were read in order, and what is wrong."""

    def __init__(self) -> None:
        self.files = 0
        self.seen = 0
        self.found = 0
        self.wrong: list[str] = []
        self.warned = 0

    @property
    def share(self) -> float:
        return self.found / max(self.seen, 1)


def reports() -> dict[str, Report]:
    found: dict[str, Report] = defaultdict(Report)
    for told in sorted(FOLDER.glob("*.txt.txt")) + sorted(path for path in FOLDER.glob("*.*.txt") if ".txt.txt" not in path.name):
        path = told.with_suffix("")
        if path.exists():
            _look(path, told.read_text(encoding="utf-8").splitlines(), found[path.suffix])
    return found


def _look(path: Path, lines: list[str], report: Report) -> None:
    extracted = read(path.read_bytes(), name=path.name, media_type=None, most_characters=1_000_000)
    text = " ".join(extracted.text.split())
    report.files += 1
    report.warned += bool(extracted.warnings)
    place = 0
    for line in lines:
        if line.startswith("! "):
            if line[2:] in text:
                report.wrong.append(f"{path.name}: {line[2:]!r} is no part of it")
            continue
        wanted = " ".join(line.split())
        report.seen += len(wanted)
        at = text.find(wanted, place)
        if at < 0:
            report.wrong.append(f"{path.name}: {wanted!r} was not read{' in its order' if wanted in text else ''}")
        else:
            report.found += len(wanted)
            place = at + len(wanted)
    if "\ufffd" in text:
        report.wrong.append(f"{path.name}: something is garbled")


def test_what_a_person_sees_of_each_file_is_read() -> None:
    found = reports()
    assert sum(report.files for report in found.values()) >= 150
    wrong = [line for report in found.values() for line in report.wrong]
    assert wrong == []
    assert sum(report.found for report in found.values()) >= LEAST * sum(report.seen for report in found.values())


def main() -> None:
    found = reports()
    print(f"{'KIND':<8} {'FILES':>5} {'CHARACTERS':>10} {'READ':>8} {'WARNED':>6}")
    for kind, report in sorted(found.items()):
        print(f"{kind:<8} {report.files:>5} {report.seen:>10} {report.share:>8.2%} {report.warned:>6}")
    seen, read_ = sum(report.seen for report in found.values()), sum(report.found for report in found.values())
    print(f"{'all':<8} {sum(report.files for report in found.values()):>5} {seen:>10} {read_ / max(seen, 1):>8.2%}")
    for report in found.values():
        for line in report.wrong:
            print(line)
    sys.exit(any(report.wrong for report in found.values()))


if __name__ == "__main__":
    main()
