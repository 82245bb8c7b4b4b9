"""``pycalc eval`` and the operations on the command line: results, errors, progress, and imports that are avoided."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "pycalc")
SUMMARY_OF_2_101 = '{"leading":"25353012004564588029","trailing":"56458802993406410752","digits":31,"exact":true}'


def run(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command, and return its outcome."""
    return subprocess.run([*COMMAND, *words], input=given, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("eval", "3^(10^12) mod 10^20"), "78655220000000000001"),
        (("eval", "-1/3"), "-1/3"),
        (("eval", "-2^2"), "-4"),
        (("eval", "--", "-2^2"), "-4"),
        (("eval", "--base", "2", "--", "-fibonacci(10)"), "-110111"),
        (("eval", "2^0.5", "--precision", "10"), "1.414213562"),
        (("eval", "--precision=10", "-2^0.5"), "-1.414213562"),
        (("eval", "--prec", "5", "2^0.5"), "1.4142"),
        (("eval", "--b=2", "9"), "1001"),
        (("eval", "-fibonacci (10)"), "-55"),
        (("eval", "--floor(2.5)"), "2"),
        (("eval", "1 < 2"), "true"),
        (("fibonacci", "100"), "354224848179261915075"),
        (("fibonacci", "1000000000000000000", "--mod", "10"), "5"),
        (
            ("fibonacci", "1000000000000000000", "--view", "summary"),
            '{"leading":"26289788186792204674","trailing":"41183788299560546875","digits":"208987640249978734",'
            '"exact":true}',
        ),
        (("pow", "--view=summary", "-2", "101"), SUMMARY_OF_2_101),
        (("fibonacci", "10", "--view", "full"), "55"),
        (("factorial", "20"), "2432902008176640000"),
        (("factorial", "20", "--base", "16"), "21c3677c82b40000"),
        (("eval", "-2^64", "--base=36"), "-3w5e11264sgsg"),
        (("pow", "2.5", "-3"), "0.064"),
        (("pow", "--", "-2", "3"), "-8"),
        (("pow", "-2/3", "3"), "-8/27"),
        (("pow", "2/3", "5", "--mod", "101"), "87"),
        (("iroot", "1000003", "3"), '{"root":100,"remainder":3}'),
        (("gcd", "-0x0C", "-1_8"), "6"),
        (("isprime", "91"), "false"),
        (("eval", "factorize(12)"), '[{"prime":2,"exponent":2},{"prime":3,"exponent":1}]'),
        (("pow", "2", "0.5", "--precision", "5"), "1.4142"),
    ],
)
def test_a_result_is_a_line_on_standard_output(words: tuple[str, ...], expected: str) -> None:
    """A command prints the bare result, nothing else, and exits with 0."""
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n", "")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """If a file is not UTF-8, the error names the file and the faulty byte; a byte order mark is ignored."""
    file = tmp_path / "input.txt"
    file.write_bytes(b"1 + \xff")
    done = run("eval", "-f", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"pycalc: {file} is not valid UTF-8 at byte 5: save it as UTF-8.\n"
    file.write_bytes(b"\xef\xbb\xbf6 * 7\r\n")
    assert run("eval", "-f", str(file)).stdout == "42\n"


def test_an_expression_is_read_from_a_file_or_from_standard_input(tmp_path: Path) -> None:
    """An expression is read from a file, whose lines are joined, or from standard input."""
    file = tmp_path / "input.txt"
    file.write_text("fibonacci(10) +\n  2^10\n", encoding="utf-8")
    assert run("eval", "-f", str(file)).stdout == "1079\n"
    assert run("eval", f"-f{file}").stdout == "1079\n"
    assert run("eval", "-f", "-", given="6 * 7\n").stdout == "42\n"
    assert run("eval", "-f-", given="6 * 7\n").stdout == "42\n"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("-f", "input (1).txt"), "input (1).txt"),
        (("-f", "./-2.txt"), "-2.txt"),
        (("--file=-x y",), "-x y"),
        (("--fi=--", "--base=10"), "--"),
    ],
)
def test_a_file_may_have_any_name(words: tuple[str, ...], name: str, tmp_path: Path) -> None:
    """A file's name may contain spaces, and may begin with - after ``--file=`` or as a path."""
    (tmp_path / name).write_text("6 * 7", encoding="utf-8")
    command = [*COMMAND, "eval", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("eval", "2 + (3 * 4"), "at character 11: The expression ends here, but a ) is missing."),
        (("eval", "1/0"), "at character 2: This is a division by zero: only a divisor other than 0 has a quotient."),
        (("eval", "9^9^9^9"), "at character 4: This part may have more than 301,030,000 digits: "),
        (("eval", "1", "--precision", "0"), "precision must be a whole number from 1 to 10,000, written in digits."),
        (("fibonacci", "x"), "n must be a whole number of 0 or more, such as 12, 1e6 or 0xFF."),
        (("factorial", "1000000000000"), "The result has more than 1,000,000,000 digits."),
        (("pow", "0", "-1"), "0 has no negative powers."),
        (
            ("eval", "-f", "/nonexistent"),
            "/nonexistent cannot be read (No such file or directory): name a readable file",
        ),
        (("eval", "-f", "/"), "/ cannot be read (Is a directory): name a readable file"),
        (("fibonacci", "10", "--view", "summary", "--mod", "7"), "view=summary and mod exclude each other: "),
    ],
)
def test_an_error_is_one_sentence_and_status_1(words: tuple[str, ...], sentence: str) -> None:
    """An error is one line on standard error, with the position in an expression; the exit status is 1."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pycalc: {sentence}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("eval", "2^100"), ("fibonacci", "100")])
def test_neither_the_service_nor_flint_is_imported(words: tuple[str, ...]) -> None:
    """Calculating on the command line imports nothing that takes long: neither the service's libraries nor FLINT."""
    program = f"import sys; from pycalc.cli.main import main; main({list(words)}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"fastapi", "pydantic", "sqlalchemy", "flint", "anyio", "structlog"} & loaded == set()
    assert "gmpy2" in loaded


def test_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    """A computation of over a second shows its progress on standard error; the line is erased at the end."""
    shown, terminal = pty.openpty()
    with (tmp_path / "digits").open("wb") as digits:
        process = subprocess.Popen([*COMMAND, "factorial", "4000000"], stdout=digits, stderr=terminal)
    os.close(terminal)
    told = b""
    with suppress(OSError):  # reading from a closed terminal raises OSError
        while part := os.read(shown, 1_000):
            told += part
    os.close(shown)
    assert process.wait() == 0
    assert told.startswith(b"\rcomputing for 1 s, of about ")
    assert told.endswith(b"\r\x1b[K")
    assert (tmp_path / "digits").stat().st_size > 24_000_000


@pytest.mark.parametrize(
    ("closed", "words", "status"), [("<&-", ("eval", "-f", "-"), 1), (">&-", ("fibonacci", "9"), 0)]
)
def test_a_closed_standard_stream_is_an_empty_one(closed: str, words: tuple[str, ...], status: int) -> None:
    """An expression from a closed standard input is empty; a result for a closed standard output is discarded."""
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
