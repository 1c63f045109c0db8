"""The command line of all commands that take a configuration, and error messages of one line."""

import argparse
import ast
import contextlib
import difflib
import errno
import importlib.util
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from seqfinal_jax.config.config_files import config_path
from seqfinal_jax.records.plugins import PluginError, load_plugins, names_of, outside_place
from seqfinal_jax.training.engine.stopping import Stopped, ask_to_stop, is_asked

GOES_ON = "what is done is kept; run the same command to continue"
SETTING = re.compile(r"--?(no)?config\.([\w.]+)(?:=(.*))?", re.DOTALL)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"", re.DOTALL)
ELEMENT = re.compile(rf"\s*((?:{QUOTED.pattern})\s*(?=,|$)|[^,]*)(?:,|$)", re.DOTALL)
NAMED = r"['\"](?:Key )?\W*(\w+)"  # "Key 'NAME' does not exist ...", or "'NAME' ..."
STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2")
TO_BE_CONTINUED = 75  # exit status (EX_TEMPFAIL of sysexits.h)
FIELDS_HELP = """\
  --config.FIELD=VALUE
                        sets a field; `seqfinal list fields` shows all of them. `seqfinal list presets`
                        shows what may stand behind the colon of --config
"""


@dataclass(frozen=True)
class Given:
    """What a command line names.

    flags: those of the command. config: the configuration, with its settings. source: its file, with presets. overrides:
    the fields that were set.
    """

    flags: argparse.Namespace
    config: ConfigDict
    source: str
    overrides: tuple[str, ...]


class FlagParser(argparse.ArgumentParser):
    """The flags of a command, whose help begins with its description."""

    def __init__(self, description: str | None, epilog: str = "") -> None:
        super().__init__(
            description=description, epilog=epilog, usage=argparse.SUPPRESS, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Raises ValueError with the message."""
        raise ValueError(message)

    def flags(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Reads the flags, by default those of this process; raises ValueError, which suggests the nearest flag."""
        found, rest = self.parse_known_args(arguments)
        for each in rest:
            if not each.startswith("-"):
                raise ValueError(f"unexpected argument {each!r}; flags begin with --")
            own = [name.lstrip("-") for action in self._actions for name in action.option_strings]
            raise ValueError(unknown_flag(each, own))
        return found

    def run(
        self, command: Callable[[argparse.Namespace], int | None], arguments: Sequence[str] | None = None
    ) -> int:
        """Runs a command with its flags; returns its exit status, which is 2 after an error of the user, in one line."""
        try:
            status = command(self.flags(arguments)) or 0
            sys.stdout.flush()
            return status
        except BrokenPipeError:
            _drop_output()
            return 141
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


class CommandParser(FlagParser):
    """The flags of a command that takes a configuration; those that all have are there from the start."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description, FIELDS_HELP)
        self.add_argument("--config", help="a name or a file with get_config(), and presets behind a colon")
        self.add_argument("--data_dir", help="folder with the data sets; default SEQFINAL_DATA_DIR")

    def read(self, arguments: Sequence[str]) -> Given:
        """Reads a command line. Raises ValueError, whose message is one sentence and suggests the nearest name."""
        others, settings = split_settings(arguments)
        found = self.flags(others)
        if not found.config:
            raise ValueError("give a configuration, for example --config=configs/digits_rcl.py")
        config, overrides = read_configuration(found.config, settings)
        return Given(found, config, config_path(found.config), overrides)


def plain_messages() -> None:
    """Prints warnings as lines that begin with their level."""
    logging.basicConfig(format="%(levelname)s: %(message)s", force=True)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)


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


def stop_with_parent() -> None:
    """From now on this process is asked to stop as soon as the one that started it has ended."""

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()


def _drop_output() -> None:
    """Standard output to nowhere: what is still in its buffer would fail again at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, status: int = 2) -> NoReturn:
    """One line on standard error, and the exit status."""
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)


def unknown_flag(argument: str, own: Sequence[str]) -> str:
    """The message about a flag that does not exist, with the field or flag that was meant; own: flags of the command."""
    name = argument.lstrip("-").partition("=")[0]
    meant = {flag: f"--{flag}" for flag in own}
    if not own or "config" in own:
        meant |= _by_any_name("--config.")
    close = difflib.get_close_matches(name.replace("-", "_"), list(meant), n=1, cutoff=0.6)
    hint = f"did you mean {meant[close[0]]}?" if close else "--help shows all flags"
    return f"unknown flag --{name}; {hint}"


def _by_any_name(prefix: str = "") -> dict[str, str]:
    """All fields by their names and by what is behind the last dot of these."""
    from seqfinal_jax.config.schema import all_fields

    found: dict[str, str] = {}
    for field in all_fields():
        for name in (field.name, field.last):
            found.setdefault(name, f"{prefix}{field.name}")
    return found


def no_field(name: str, more: str = "") -> str:
    """The message about a field that does not exist; `more` follows where no field has such a name."""
    known = _by_any_name()
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    hint = f"did you mean {known[close[0]]!r}?" if close else f"docs/options.md lists all fields{more}"
    return f"the configuration has no field {name!r}; {hint}"


def split_settings(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags of a command, and the settings of fields, each as `--config.FIELD=VALUE` (or a flag without a value)."""
    others: list[str] = []
    settings: list[str] = []
    waits = False
    for argument in arguments:
        match = SETTING.fullmatch(argument)
        if match:
            settings.append(argument)
        elif waits and not argument.startswith("--"):
            settings[-1] += f"={argument}"
        else:
            others.append(argument)
        waits = bool(match) and match[3] is None
    return others, settings


def read_configuration(file: str, settings: Sequence[str] = ()) -> tuple[ConfigDict, tuple[str, ...]]:
    """The configuration of a file (with presets after a colon) with settings such as "--config.seeds=0,1" applied.

    The plugins of the settings and of the file are loaded first, so that the fields which they declare can be set. Also
    returns the names of the fields that the settings set. Raises ValueError, whose message is one sentence.
    """
    from seqfinal_jax.config.build import add_own_fields

    others, settings = split_settings(settings)
    if others:
        raise ValueError(unknown_flag(others[0], ()))
    matches = [match for match in map(SETTING.fullmatch, settings) if match]
    for match in matches:
        if match[2] == "plugins" and match[3] is not None:
            load_plugins(listed_texts(match[3]))
    config = _from_file(config_path(file))
    load_plugins(names_of(config.get("plugins", ())))
    add_own_fields(config)
    return config, _set(config, matches)


def _from_file(place: str) -> ConfigDict:
    """The result of a file's get_config, locked. Raises ValueError with the line of the file that went wrong."""
    path, colon, presets = place.partition(":")
    try:
        spec = importlib.util.spec_from_file_location("config_config", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["config_config"] = module
        spec.loader.exec_module(module)
        config = module.get_config(*([presets] if colon else []))
    except Exception as error:
        raise ValueError(explain(error)) from error
    if not isinstance(config, ConfigDict):
        raise ValueError(f"{path}: get_config returns {config!r}; expected what base_config gives")
    return config.lock()


def _set(config: ConfigDict, matches: Sequence[re.Match[str]]) -> tuple[str, ...]:
    """Sets fields; their names are checked against the schema, their values are parsed by ml_collections."""
    from seqfinal_jax.config.schema import all_fields, text_lists

    known, lists = {each.name for each in all_fields()}, text_lists()
    command = ["configuration"]
    for match in matches:
        if match[2] not in known:
            raise ValueError(no_field(match[2]))
        is_list = match[2] in lists and match[3] is not None
        command.append(f"--config.{match[2]}={listed_texts(match[3])!r}" if is_list else match[0])
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=command)
        values(command)
    except Exception as error:  # its parsers raise many kinds
        raise ValueError(" ".join(str(error).split())) from error
    return tuple(config_flags.get_override_values(values["config"]))


def listed_texts(value: str) -> tuple[str, ...]:
    """The strings of a comma-separated list, blanks stripped; quote a string that contains a comma or ends in a blank.

    A tuple or list in Python's notation is taken as it is.
    """
    if value.strip()[:1] in ("(", "["):
        with contextlib.suppress(ValueError, SyntaxError):
            return tuple(map(str, ast.literal_eval(value.strip())))
    parts = [match[1].strip() for match in ELEMENT.finditer(value)]
    return tuple(part[1:-1] if QUOTED.fullmatch(part) else part for part in parts if part)


def explain(error: Exception) -> str:
    """The sentence that a user needs to fix an error in a configuration file."""
    if isinstance(error, (PluginError, OSError)):
        return str(error)
    place = outside_place(error)
    if isinstance(error, SyntaxError):
        return f"{place}{error.msg}"
    text = " ".join(str(error).split())
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if isinstance(error, (AttributeError, KeyError)) and "ml_collections" in raised_in:
        plugins = "; a file sets those of a plugin after base_config(plugins=(FILE,))"
        return f"{place}{no_field(re.search(NAMED, text)[1], plugins)}"
    return text if isinstance(error, ValueError) else f"{place}{type(error).__name__}: {text}"
