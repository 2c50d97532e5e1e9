"""The page in a real browser, wide and narrow, light and dark, and printed: nothing cut, complained of or asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.report.html.page import run_page
from tests.report.html.browser import Browser, chromium
from tests.report.html.kinds_of_runs import KINDS
from tests.report.html.made_run import LABELS, job_of, make_run, row
from tests.report.html.test_page import HOSTILE, hostile_rows

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here; Debian's package is called chromium"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None
    with chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def written(folder: Path, page: bytes) -> Path:
    file = folder / "report.html"
    file.write_bytes(page)
    return file


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_complained_of_or_asked_for(browser: Browser, kind: str, width: int, tmp_path: Path) -> None:
    file = written(tmp_path, run_page(KINDS[kind](tmp_path), with_texts=True))
    page = browser.open(file, width)
    assert page.overflowing() == []
    assert page.complaints == []
    assert page.requests == [file.as_uri()]
    assert page.evaluate("document.body.innerText").startswith(("tickets, classification", "tickets, code review"))


def test_what_would_stand_out_is_found(browser: Browser, tmp_path: Path) -> None:
    cut = "<svg viewBox='0 0 9 9' width='9'><text x='8'>cut</text></svg>"
    wide = f"<!doctype html><p style='width: 900px'>too wide</p>{cut}".encode()
    assert len(browser.open(written(tmp_path, wide), 390).overflowing()) == 3


def test_names_that_look_like_markup_run_nothing_and_break_nothing(browser: Browser, tmp_path: Path) -> None:
    rows = [*hostile_rows(), row(90, document_id="x" * 900, answer="y" * 400), row(91, "failed", reason="z" * 900)]
    store = make_run(tmp_path, rows, job=job_of(labels=dict.fromkeys([*LABELS, *HOSTILE[:6], "l" * 300])))
    file = written(tmp_path, run_page(store))
    for width in (390, 1280):
        page = browser.open(file, width)
        assert page.overflowing() == []
        assert page.complaints == []
        assert page.requests == [file.as_uri()]
        assert page.evaluate("[document.scripts.length, document.images.length]") == [1, 0]


def test_a_script_would_not_run(browser: Browser, tmp_path: Path) -> None:
    page = run_page(KINDS["kept"](tmp_path)).replace(b"</body>", b"<script>document.title = 'ran'</script></body>")
    opened = browser.open(written(tmp_path, page), 1280)
    assert opened.evaluate("document.title") != "ran"
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)


def test_dark_and_print_have_their_own_colours(browser: Browser, tmp_path: Path) -> None:
    file = written(tmp_path, run_page(KINDS["kept"](tmp_path)))
    grounds = [
        browser.open(file, 1280, is_dark=is_dark).evaluate("getComputedStyle(document.body).backgroundColor")
        for is_dark in (False, True)
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]
    printed = browser.open(file, 1280).pdf()
    assert printed.startswith(b"%PDF-")
    assert 1 <= printed.count(b"/Type /Page\n") <= 12
