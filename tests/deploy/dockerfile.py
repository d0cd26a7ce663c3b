"""What a Dockerfile says, instruction by instruction."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]


class Step(msgspec.Struct, frozen=True):
    name: str
    value: str
    stage: int

    @property
    def words(self) -> list[str]:
        """Of an instruction in exec form, or of any other."""
        return list(json.loads(self.value)) if self.value.startswith("[") else self.value.split()


class Dockerfile:
    """The steps of a Dockerfile, in order."""

    def __init__(self, file: Path) -> None:
        text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
        lines = [line for line in text.replace("\\\n", "").splitlines() if line.strip()]
        self.steps: list[Step] = []
        stage = -1
        for line in lines:
            name, _, value = line.partition(" ")
            stage += name == "FROM"
            self.steps.append(Step(name, value.strip(), stage))
        self.last_stage = stage

    def all(self, name: str, *, stage: int | None = None) -> list[Step]:
        return [step for step in self.steps if step.name == name and stage in (None, step.stage)]

    def last(self, name: str) -> Step:
        """The one of the image that is built in the end."""
        return self.all(name, stage=self.last_stage)[-1]

    @property
    def environment(self) -> dict[str, str]:
        """Of the image, beside PATH."""
        assigned = dict(word.split("=", 1) for step in self.all("ENV", stage=self.last_stage) for word in step.words)
        return {name: value for name, value in assigned.items() if name != "PATH"}

    @property
    def health(self) -> tuple[dict[str, Any], list[str]]:
        """The options and the command of HEALTHCHECK."""
        options, _, command = self.last("HEALTHCHECK").value.partition(" CMD ")
        return dict(re.findall(r"--([a-z-]+)=(\S+)", options)), list(json.loads(command))
