"""The texts of the tables, cut into phrases."""

from __future__ import annotations


def phrases_of(text: str) -> list[str]:
    """The phrases of a cell: they are parted by semicolons; an empty cell is one empty phrase."""
    return [phrase.strip() for phrase in text.split(";")]


def sentences_of(text: str) -> list[str]:
    """The sentences of a note."""
    return [sentence.strip().rstrip(".") for sentence in text.replace("e.g.", "eg").split(". ") if sentence.strip()]
