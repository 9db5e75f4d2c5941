"""What a checker says when something must not be."""

from __future__ import annotations


class Violation(Exception):
    """A rule is broken; ``rule`` names it, the text says by whom and how."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.text = text
