"""Phrases that many messages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def some_of(items: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first ``most`` of ``items``, and how many more there are."""
    left = len(items) - most
    more = {", ": " and", "\n": "\nand"}.get(separator, f"{separator.rstrip()} and") + f" {left} more"
    return separator.join(items[:most]) + (more if left > 0 else "")


def counted(number: int, word: str, plural: str = "") -> str:
    """``number`` and ``word``, in the plural unless it is one."""
    return f"{number} {word if number == 1 else plural or f'{word}s'}"


def nearest(word: str, words: Iterable[str]) -> list[str]:
    """Up to three of ``words`` that ``word`` may be a misspelling of, the nearest first."""
    import difflib  # slow to load, and only errors need it

    return difflib.get_close_matches(word, list(words), n=3, cutoff=0.5)


def did_you_mean(words: Sequence[str], otherwise: str) -> str:
    """A hint that suggests ``words``; ``otherwise`` if there are none."""
    return f"did you mean {', '.join(words)}?" if words else otherwise
