"""The report as a browser shows it: no errors, tables that sort, nothing cut off, in two windows and in print."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from seqfinal_jax.analysis import report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")

# Sorts every column of every table in turn and reports what a reader would stumble over, as JSON in the document's title.
PROBE = """
<script>
window.onerror = function (message) { window.scriptErrors = (window.scriptErrors || []).concat(message); };
window.addEventListener("load", function () {
  var found = { errors: window.scriptErrors || [], sorts: [], unsorted: [], cut: [] };
  document.querySelectorAll("details").forEach(function (each) { each.open = true; });
  document.querySelectorAll("table.sortable th button").forEach(function (button) {
    var head = button.parentNode, rows = head.closest("table").tBodies[0].rows;
    button.click();
    var values = Array.from(rows).map(function (row) { return row.cells[head.cellIndex].dataset.sort; });
    var kept = values.filter(function (value) { return value !== ""; });
    var numbers = kept.every(function (value) { return !isNaN(value); });
    var down = head.getAttribute("aria-sort") === "descending";
    var wanted = kept.slice().sort(function (a, b) {
      return (down ? -1 : 1) * (numbers ? a - b : a.localeCompare(b));
    });
    found.sorts.push(button.textContent);
    if (JSON.stringify(kept) !== JSON.stringify(wanted)) found.unsorted.push([button.textContent, kept]);
  });
  var width = document.documentElement.clientWidth;
  document.querySelectorAll("h1, h2, h3, p, li, img, summary").forEach(function (each) {
    var shown = each.closest(".wide") || each;  // a picture that is wider than the window scrolls in its paragraph
    if (shown !== each && getComputedStyle(shown).overflowX !== "auto") found.errors.push("does not scroll");
    var box = shown.getBoundingClientRect();
    if (box.width && (box.right > width + 1 || box.left < -1)) found.cut.push(each.outerHTML.slice(0, 80));
  });
  document.querySelectorAll("img").forEach(function (each) {
    if (!each.naturalWidth) found.errors.push("no picture: " + each.alt);
  });
  found.scrolls = document.documentElement.scrollWidth > width + 1;
  document.body.innerHTML = "<pre id=found>" + JSON.stringify(found).replace(/</g, "&lt;") + "</pre>";
});
</script>
"""


def browse(page: Path, *flags: str) -> str:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *flags]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run([*command, profile, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report with several architectures, a failure, seeds that lack, and fields that were set."""
    blank = tmp_path_factory.mktemp("blank") / "blank.html"
    blank.write_text("<p>works</p>")
    try:
        works = "works" in browse(blank, "--dump-dom")
    except (AssertionError, OSError, subprocess.TimeoutExpired):
        works = False
    if not works:
        pytest.skip("Chromium is installed and does not start here")
    from tests.analysis.conftest import ACCURACIES
    from tests.analysis.run_folders import make_run_folder

    workdir = make_run_folder(tmp_path_factory.mktemp("page") / "run", ACCURACIES)
    path = workdir / "environment.json"
    command = {"config": "configs/digits_rcl.py", "set": {"training.patience": 10}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"command": command}))
    return report.write_report(workdir)[-1]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_window(page, width):
    probed = page.with_name(f"probed{width}.html")
    probed.write_text(page.read_text().replace("<head>", "<head>" + PROBE))
    text = browse(probed, f"--window-size={width},900", "--dump-dom", "--virtual-time-budget=5000")
    found = json.loads(text.split('<pre id="found">')[1].split("</pre>")[0].replace("&lt;", "<"))
    assert found["errors"] == [] and found["unsorted"] == [] and found["cut"] == []
    assert not found["scrolls"]
    assert len(found["sorts"]) >= 10


def test_the_page_in_print(page):
    out = page.with_name("page.pdf")
    browse(page, f"--print-to-pdf={out}", "--no-pdf-header-footer")
    content = out.read_bytes()
    assert content.startswith(b"%PDF") and content.count(b"/Type /Page") >= 2
