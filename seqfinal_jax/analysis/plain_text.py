"""Names and texts of users as they are, whatever signs they hold: in pictures, Markdown, LaTeX and HTML."""

import logging
import warnings
from collections.abc import Sequence
from functools import lru_cache

log = logging.getLogger(__name__)
MARKDOWN = {"\\": "\\\\", "|": "\\|", "`": "\\`", "*": "\\*", "[": "\\[", "]": "\\]", "<": "&lt;", ">": "&gt;",
            "&": "&amp;"}  # fmt: skip
LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{",
         "}": r"\}", "±": r"$\pm$", "–": "--", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
         "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "†": r"\dag{}"}  # fmt: skip
# Fonts with Chinese, Japanese and Korean signs, as systems have them.
MORE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Source Han Sans",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic", "TakaoGothic",
    "NanumGothic", "Hiragino Sans", "PingFang SC", "Yu Gothic", "MS Gothic", "Microsoft YaHei", "SimHei",
    "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip


def _line(text: str) -> str:
    """A text in one line, without signs that control a terminal or a page."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def markdown_text(text: str) -> str:
    """A text in a line or a cell of a table in Markdown."""
    return "".join(MARKDOWN.get(sign, sign) for sign in _line(text))


def latex_text(text: str) -> str:
    """A text with what LaTeX would read as commands written out."""
    return "".join(LATEX.get(sign, sign) for sign in _line(text))


def draw_texts_as_they_are(mathematics: bool = False) -> None:
    """Sets Matplotlib, until its settings are put back, so that a dollar sign is a dollar sign.

    mathematics: texts between dollar signs are typeset, as in figures of users. Signs of East Asian scripts come from a
    font that has them, where there is one.
    """
    import matplotlib

    matplotlib.rcParams["text.parse_math"] = mathematics
    if found := _more_fonts():
        matplotlib.rcParams["font.family"] = [*matplotlib.rcParams["font.family"], *found]
    warnings.filterwarnings("ignore", message="Glyph .* missing from")


@lru_cache(maxsize=1)
def _more_fonts() -> tuple[str, ...]:
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in MORE_FONTS if name in there)[:1]


def drawable(names: Sequence[str], what: str) -> list[str]:
    """Names as a picture can show them: "class 3" for one with signs that no font here has, which is said once."""
    there = _signs_there()
    lacking = [name for name in names if any(ord(sign) not in there for sign in name if sign.isprintable())]
    if lacking:
        _say_lacking(len(lacking), what, lacking[0])
    return [f"{what} {place}" if name in lacking else _line(name) for place, name in enumerate(names)]


@lru_cache(maxsize=16)
def _say_lacking(count: int, what: str, example: str) -> None:
    """One line, said once."""
    log.warning(
        "no font here has the signs of %d %s name%s, such as %r; pictures number them (a font such as Noto Sans CJK "
        "shows them)",
        count,
        what,
        "s" * (count > 1),
        example,
    )


def _signs_there() -> set[int]:
    import matplotlib
    from matplotlib import font_manager

    families = [*matplotlib.rcParams["font.family"], *_more_fonts()]
    return set().union(
        *(
            _signs_of(font_manager.findfont(font_manager.FontProperties(family=[family])))
            for family in families
        )
    )


@lru_cache(maxsize=8)
def _signs_of(font: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font).get_charmap())
