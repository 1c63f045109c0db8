"""The flags of all commands that take a configuration, and error messages of one line."""

import ast
import contextlib
import difflib
import errno
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from seqfinal_jax.config.config_files import config_path
from seqfinal_jax.records.plugins import PluginError, load_plugins, outside_place
from seqfinal_jax.training.engine.stopping import Stopped, ask_to_stop, is_asked

CONFIG = config_flags.DEFINE_config_file("config", None, "file with get_config(), and presets behind a colon")
DATA_DIR = flags.DEFINE_string("data_dir", None, "folder with the data sets; default SEQFINAL_DATA_DIR")
GOES_ON = "what is done is kept; run the same command to continue"
OVERRIDE = re.compile(r"(--?config\.)([\w.]+)(?:=(.*))?", re.DOTALL)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"", re.DOTALL)
ELEMENT = re.compile(rf"\s*((?:{QUOTED.pattern})\s*(?=,|$)|[^,]*)(?:,|$)", re.DOTALL)
PLUGINS, GIVEN = "--config.plugins=", "--config="
STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2")
TO_BE_CONTINUED = 75  # exit status (EX_TEMPFAIL of sysexits.h)


def plain_messages() -> None:
    """Prints warnings as lines that begin with their level, not in absl's format."""
    logging.basicConfig(format="%(levelname)s: %(message)s", force=True)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)


def given_config(arguments: Sequence[str]) -> ConfigDict:
    """The configuration that the command line names. Raises ValueError where there is none, and for other arguments."""
    if len(arguments) > 1:
        raise ValueError(f"unexpected argument {arguments[1]!r}; flags begin with --")
    try:
        config = CONFIG.value
        _ = config and config.name  # what is lazy is loaded here
    except OSError as error:
        raise ValueError(f"--config: the file cannot be loaded; {explain(error)}") from error
    if config is None:
        raise ValueError("give a configuration, for example --config=configs/digits_rcl.py")
    return config


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns errors that a user can fix, and interruptions by the user, into one line and an exit status."""
    for name in STOP_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stop)
    try:
        yield
        sys.stdout.flush()
    except Stopped:
        fail("interrupted; the state is saved. Run the same command to resume", TO_BE_CONTINUED)
    except ValueError as error:
        fail(str(error))
    except BrokenPipeError:
        _drop_output()
        fail(f"standard output was closed; {GOES_ON}", 141)
    except OSError as error:
        _drop_output()
        what = "no space is left on the disk" if error.errno == errno.ENOSPC else "a file cannot be used"
        fail(f"{what} ({error}); {GOES_ON}", 1)


def _stop(number: int, _: object) -> None:
    """A fit ends its epoch and saves its state; anything else ends at once, as a fit does at a second Ctrl-C."""
    again = is_asked()
    ask_to_stop(at_once=again and number == signal.SIGINT)
    if again:  # schedulers send several signals
        return
    with contextlib.suppress(OSError, RuntimeError):
        print(f"{signal.Signals(number).name}: stopping after the current epoch", file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Standard output to nowhere: what is still in its buffer would fail again at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, status: int = 2) -> NoReturn:
    """One line on standard error, and the exit status."""
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


def parse_flags(arguments: Sequence[str]) -> list[str]:
    """Parses the command line; an error becomes one line that suggests the nearest match.

    Plugins that it names are loaded first, so that the fields which they declare can be set by later flags. --help prints
    a description of the command and all its flags, and ends the process.
    """
    if {"--help", "-h", "-help"} & {*arguments[1:]}:
        print(help_text(), end="")
        sys.exit(0)
    try:
        _load_named_plugins(arguments)
        return flags.FLAGS(with_lists([_with_path(argument) for argument in arguments]), known_only=False)
    except flags.UnrecognizedFlagError as error:
        fail(unknown_flag(f"--{error.flagname}"))
    except Exception as error:  # the parser of ml_collections raises many kinds
        fail(explain(error))


def help_text() -> str:
    """The description of the running command, and its flags with their defaults."""
    doc = (getattr(sys.modules["__main__"], "__doc__", None) or "").strip()
    if not sys.argv[0].endswith(".py"):  # another command's entry point, such as seqfinal run
        doc = (sys.modules["seqfinal_jax.main"].__doc__ or "").strip()
    lines = [doc, "", "Flags"]
    for module, own in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith("seqfinal_jax") or module in ("__main__", sys.argv[0]):
            for flag in own:
                default = "" if flag.default in (None, "", False) else f"; default {flag.default}"
                lines.append(
                    f"  --{flag.name}" + ("" if flag.boolean else "=...") + f"\n      {flag.help}{default}"
                )
    lines.append(
        "  --config.FIELD=VALUE\n      sets a field; `seqfinal list fields` shows all of them. `seqfinal list presets` "
        "shows\n      what may stand behind the colon of --config"
    )
    return "\n".join(lines) + "\n"


def unknown_flag(argument: str, own: Sequence[str] = ("workdir", "dry_run", "data_dir")) -> str:
    """The message about a flag that does not exist, with the field or flag that was meant; own: flags of the command."""
    from seqfinal_jax.config.schema import all_fields

    name = argument.lstrip("-").partition("=")[0]
    meant = {flag: f"--{flag}" for flag in ("config", *own)}
    for field in all_fields():
        for known in (field.name, field.name.rpartition(".")[2]):
            meant.setdefault(known, f"--config.{field.name}")
    close = difflib.get_close_matches(name.replace("-", "_"), list(meant), n=1, cutoff=0.6)
    hint = f"did you mean {meant[close[0]]}?" if close else "--help shows all flags"
    return f"unknown flag --{name}; {hint}"


def _with_path(argument: str) -> str:
    """An argument that names a configuration, with the path of its file."""
    return f"{GIVEN}{config_path(argument.removeprefix(GIVEN))}" if argument.startswith(GIVEN) else argument


def read_configuration(file: str, settings: Sequence[str] = ()) -> tuple[ConfigDict, tuple[str, ...]]:
    """The configuration of a file (with presets after a colon) with settings such as "--config.seeds=0,1" applied.

    Also returns the names of the fields that the settings set. Raises ValueError, whose message is one sentence.
    """
    command, values = ["configuration", _with_path(f"{GIVEN}{file}"), *settings], flags.FlagValues()
    try:
        config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=command)
        _load_named_plugins(command)
        values(with_lists(command))
        config = values["config"].value
        _ = config.name  # what is lazy is loaded here
    except Exception as error:  # the parser of ml_collections raises many kinds
        raise ValueError(f"--config={file}: {explain(error)}") from error
    return config, tuple(config_flags.get_override_values(values["config"]))


def with_lists(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the values of fields that are lists of strings written as Python tuples.

    `--config.data.steps=2019,2020` and `--config.data.steps 2019,2020` give two strings, never numbers.
    """
    from seqfinal_jax.config.schema import text_lists

    lists, found, waits = text_lists(), [], False
    for argument in arguments:
        match = OVERRIDE.fullmatch(argument)
        if waits:
            argument = repr(listed_texts(argument))
        waits = bool(match) and match[2] in lists and match[3] is None and not waits
        if match and match[2] in lists and match[3] is not None:
            argument = f"{match[1]}{match[2]}={listed_texts(match[3])!r}"
        found.append(argument)
    return found


def listed_texts(value: str) -> tuple[str, ...]:
    """The strings of a comma-separated list, blanks stripped; quote a string that contains a comma or ends in a blank.

    A tuple or list in Python's notation is taken as it is.
    """
    if value.strip()[:1] in ("(", "["):
        with contextlib.suppress(ValueError, SyntaxError):
            return tuple(map(str, ast.literal_eval(value.strip())))
    parts = [match[1].strip() for match in ELEMENT.finditer(value)]
    return tuple(part[1:-1] if QUOTED.fullmatch(part) else part for part in parts if part)


def _load_named_plugins(arguments: Sequence[str]) -> None:
    """Loads the files that the command line names, which declare fields that it may set."""
    for argument in arguments:
        if argument.startswith(PLUGINS):
            load_plugins(listed_texts(argument.removeprefix(PLUGINS)))


def explain(error: Exception) -> str:
    """The sentence that a user needs to fix an error in the flags or in a configuration file."""
    if isinstance(error, PluginError):
        return str(error)
    text = str(error).replace("\\n", " ").replace("\\'", "'").replace('\\"', '"')
    place = outside_place(error)
    if isinstance(error, SyntaxError):
        return f"{place}{error.msg}"
    unknown = re.search(r"['\"](\w+)['\"]\W+Did you mean \"(\w+)\"", text)
    if unknown:
        return f"{place}the configuration has no field {unknown[1]!r}; did you mean {unknown[2]!r}?"
    locked = re.search(r"Key \"(\w+)\" does not exist and cannot be added", text)
    if locked:
        return f"{place}the configuration has no field {locked[1]!r}; docs/options.md lists all fields"
    if place:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return f"{place}{kind}{' '.join(text.split())}"
    if isinstance(error, (AttributeError, KeyError)):
        return f"the configuration has no field {text.strip()}; docs/options.md lists all fields"
    return " ".join(re.split(r"\b\w+(?:Error|Exception): ", text)[-1].split())
