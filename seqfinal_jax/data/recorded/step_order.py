"""The time steps of recorded samples, in order: years, dates, numbers, or an order that the user gives."""

import re
from collections.abc import Iterable, Sequence

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.images.image_folders import natural

PERIODS = ("as_given", "month", "year", "decade")
DATE = re.compile(r"(\d{4})(?:[-_.](\d{1,2}))?(?:[-_.](\d{1,2}))?")
NUMBERED = re.compile(r"(\D*)(\d+)(\D*)")


def in_order(names: Iterable[str], asked: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of steps in time order: as asked for, else by date or by the one number that they contain.

    Raises SourceError where the order is not clear, and where `asked` names other steps than there are.
    """
    found = sorted(sorted(set(names)), key=natural)
    if asked:
        return _as_asked(found, tuple(asked))
    _refuse_no_dates(found)
    if len(found) == 1 or all(DATE.fullmatch(name) for name in found) or _numbered(found):
        return tuple(found)
    raise SourceError(
        f"the order of the time steps {', '.join(map(repr, found[:8]))}{', ...' if len(found) > 8 else ''} is not clear: "
        f"expected dates such as 2019 or 2019-04, or one name with a number such as step1, step2. Say it with "
        f"--config.data.steps=FIRST,SECOND,..."
    )


def _refuse_no_dates(names: Sequence[str]) -> None:
    """Raises SourceError for names that look like dates and are none, and for one date that is written in two ways."""
    first: dict[tuple[int, ...], str] = {}
    dates = [date for name in names if (date := DATE.fullmatch(name))]
    for name, date in zip(names, dates, strict=True) if len(dates) == len(names) else ():
        parts = tuple(int(part) for part in date.groups() if part)
        _refuse_no_month(name, parts, "say the order with --config.data.steps=FIRST,SECOND,...")
        if (other := first.setdefault(parts, name)) != name:
            raise SourceError(
                f"the time steps {other!r} and {name!r} are one date; give their folders or times one name"
            )


def _refuse_no_month(name: str, parts: Sequence[int], remedy: str) -> None:
    if any(not 1 <= part <= most for part, most in zip(parts[1:], (12, 31), strict=False)):
        which = "month" if not 1 <= parts[1] <= 12 else "day"
        raise SourceError(
            f"the time {name!r} is not a date: there is no {which} {parts[2 - (which == 'month')]}; "
            f"correct it, or {remedy}"
        )


def _numbered(names: Sequence[str]) -> bool:
    """Whether the names differ by one number alone, and each number occurs once."""
    matches = [match for name in names if (match := NUMBERED.fullmatch(name))]
    if len(matches) < len(names):
        return False
    around = {(match[1].casefold(), match[3].casefold()) for match in matches}
    return len(around) == 1 and len({int(match[2]) for match in matches}) == len(names)


def _as_asked(found: Sequence[str], asked: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in asked if name not in found]
    repeated = [name for name in asked if asked.count(name) > 1]
    if unknown or repeated:
        what = f"there is no step {unknown[0]!r}" if unknown else f"{repeated[0]!r} is named twice"
        raise SourceError(f"config.data.steps: {what}; found are {', '.join(found)}")
    return asked


def period_of(time: str, period: str) -> str:
    """The step that a time belongs to: itself, its month, its year, or its decade such as 1930s.

    Raises SourceError where the time is not a date, or has no month.
    """
    if period == "as_given":
        return time
    date = DATE.match(time.strip())
    if date is None or (period == "month" and date[2] is None):
        wanted = "a month, such as 2019-04" if period == "month" else "a year, such as 2019"
        raise SourceError(f"config.data.period = {period!r}: the time {time!r} does not begin with {wanted}")
    if period == "month":
        _refuse_no_month(time, [int(date[1]), int(date[2])], "take another --config.data.period")
        return f"{date[1]}-{int(date[2]):02d}"
    return date[1] if period == "year" else f"{date[1][:3]}0s"
