"""Words of a command line: what those of some options mean, and how a whole line may be kept in a report.

What cannot be read goes into `problems`, a line each, so that all of it is reported at once.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SECRET_HEADER = re.compile("authorization|cookie|key|secret|token", re.IGNORECASE)


def parse_set(pairs: list[str], problems: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value that reads as JSON is taken as such (numbers, true, lists)."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            problems.append(f"--set: {pair!r} is not NAME=VALUE, as in --set to=8")
            continue
        try:
            found[name.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.strip().replace("-", "_")] = value
    return found


def parse_headers(pairs: list[str], problems: list[str]) -> tuple[tuple[str, str], ...]:
    """NAME:VALUE pairs; blanks around the value do not count (RFC 9112 section 5.1)."""
    found = []
    for pair in pairs:
        name, colon, value = pair.partition(":")
        if colon:
            found.append((name, value.strip(" \t")))
        else:
            problems.append(f"--header: {pair!r} is not NAME:VALUE, as in 'Accept: text/html'")
    return tuple(found)


def kept_words(argv: list[str]) -> list[str]:
    """A command line as a report may keep it: what a header that lets someone in holds is omitted."""
    kept = []
    for before, word in zip(["", *argv], argv, strict=False):
        flag = "--header=" if word.startswith("--header=") else ""
        name, colon, _ = word.removeprefix(flag).partition(":")
        secret = (flag or before == "--header") and SECRET_HEADER.search(name)
        kept.append(f"{flag}{name}{colon}..." if secret else word)
    return kept


def parse_statuses(texts: list[str], problems: list[str]) -> tuple[int, ...]:
    """Statuses apart by commas; which of them can be is the plan's to say."""
    words = [word.strip() for text in texts for word in text.split(",")]
    bad = [word for word in words if not (word.isascii() and word.isdigit())]
    problems += [f"--expect: {word!r} is not a status, as in 200,204" for word in bad]
    return tuple(dict.fromkeys(int(word) for word in words if word not in bad)) if not bad else (200,)


def parse_share(text: str, flag: str, problems: list[str]) -> float:
    """ "5%" as 0.05; 0.5 where it cannot be read."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) ?%", text.strip(), re.ASCII)
    if not found:
        problems.append(f"{flag}: {text!r} is not a percentage, as in 5%")
        return 0.5
    return float(found[1]) / 100


def parse_duration(text: str, flag: str, problems: list[str]) -> float:
    """ "10m", "90s", "1h" or seconds, in seconds; 1.0 where it cannot be read."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip(), re.ASCII)
    if not found:
        problems.append(f"{flag}: {text!r} is not a duration, as in 90s, 10m or 1h")
        return 1.0
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def read_body(text: str, problems: list[str]) -> str:
    """The text itself, or the content of the file after an @."""
    try:
        if text.startswith("@"):
            return Path(text[1:]).read_bytes().decode()
        return text.encode().decode()  # what a shell passes on may be no text at all
    except (OSError, ValueError) as problem:
        problems.append(f"--body: {text!r} is neither UTF-8 text nor @FILE of a readable UTF-8 file: {problem}")
        return ""


__all__ = [
    "kept_words",
    "parse_duration",
    "parse_headers",
    "parse_set",
    "parse_share",
    "parse_statuses",
    "read_body",
]
