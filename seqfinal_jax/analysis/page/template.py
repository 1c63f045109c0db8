"""The HTML of a report, as a jinja2 template; it needs nothing from outside itself."""

STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #ddd; }
thead th { border-bottom: 2px solid #888; vertical-align: bottom; }
tbody td:first-child { min-width: 9rem; }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
.lacking { color: #6e6e6e; font-style: italic; }
.family td { font-weight: 600; padding-top: .6rem; }
.captions, .note { color: #555; font-size: .9rem; } .captions { padding-left: 1.2rem; }
.answer { font-size: 1.1rem; border-left: .3rem solid #0072B2; padding-left: .8rem; max-width: 46rem; }
.changed { border-left: .3rem solid #D55E00; padding-left: .8rem; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; }
th button { cursor: pointer; text-align: inherit; }
th button::after { content: " \\2195"; color: #888; }
th[aria-sort=ascending] button::after { content: " \\2191"; color: inherit; }
th[aria-sort=descending] button::after { content: " \\2193"; color: inherit; }
img { max-width: 100%; height: auto; } pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; }
code { overflow-wrap: anywhere; }
details { margin-top: 1.4rem; } summary { font-size: 1.15rem; font-weight: 600; cursor: pointer; }
@media print {
  body { margin: 0; max-width: none; font-size: 10pt; } .wide { overflow: visible; }
  table { font-size: 8pt; } th, td { padding: .15rem .35rem; } .number { white-space: normal; }
  img { break-inside: avoid; max-height: 24cm; }
  img { min-width: 0 !important; } th button::after { content: ""; } pre { white-space: pre-wrap; }
  h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
}
@media (prefers-color-scheme: dark) {
  body { background: #161616; color: #e6e6e6; } a { color: #8ab8ff; } pre { background: #262626; }
  th, td { border-color: #444; } .captions, .note, .lacking { color: #aaa; } img { background: #fff; }
}
"""

SCRIPT = """\
document.querySelectorAll("table.sortable th button").forEach(function (button) {
  button.addEventListener("click", function () {
    var head = button.parentNode, table = head.closest("table"), body = table.tBodies[0];
    var column = head.cellIndex, down = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    if (!head.classList.contains("number") && !head.hasAttribute("aria-sort")) down = 1;
    table.querySelectorAll("th").forEach(function (each) { each.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
    var value = function (row) { return row.cells[column].dataset.sort; };
    Array.from(body.rows).sort(function (one, other) {
      var a = value(one), b = value(other);
      if (a === "" || b === "") return (a === "") - (b === "");
      return down * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    }).forEach(function (row) { body.appendChild(row); });
  });
});
window.addEventListener("beforeprint", function () {
  document.querySelectorAll("details").forEach(function (each) { each.open = true; });
});
"""

MACROS = """\
{%- macro head(text, number=true) -%}
<th{% if number %} class="number"{% endif %}><button type="button">{{ text }}</button></th>
{%- endmacro %}
{%- macro value(text, sort, kind='number') -%}
<td class="{{ kind }}" data-sort="{{ '' if sort != sort else sort }}">{{ text }}</td>
{%- endmacro %}
{%- macro name(method) -%}
{%- set label = names(method) -%}
<td data-sort="{{ label.legend }}">{{ label.column }}
{%- if label.legend != label.column %}: {{ label.legend }}{% endif %}</td>
{%- endmacro %}
{%- macro share(part) -%}{{ '–' if part != part else '%.0f' | format(100 * part) }}{%- endmacro %}
{%- macro pictures(group) -%}
{%- for picture in group.pictures %}
<p class="wide"><a href="{{ picture.link }}"><img src="{{ picture.source }}"
style="min-width: {{ picture.least_width }}px" alt="{{ group.heading }}: {{ picture.name }}"></a></p>
{%- endfor %}
{%- for table, link in group.tables %}
<p class="note">Its numbers: <a href="{{ link }}">{{ table }}</a></p>
{%- endfor %}
{%- endmacro %}
"""

BODY = """\
<h1>{{ table.title }}</h1>
{%- if table.changed %}
<p class="changed">Other settings than those of the configuration file: {{ table.changed }}</p>
{%- endif %}
{%- for paragraph in answer %}
<p class="answer">{{ paragraph }}</p>
{%- endfor %}
{%- if lead %}
{{ pictures(lead) }}
{%- endif %}

<h2 id="results">Results</h2>
<div class="wide"><table class="sortable">
<thead><tr>{{ head('method', false) }}{{ head('family', false) }}
{%- for architecture in table.architectures %}{{ head(architecture) }}<th class="number">n</th>
{%- endfor %}</tr></thead>
<tbody>
{%- for method in table.methods %}
<tr>{{ name(method) }}<td data-sort="{{ loop.index }}">{{ names(method).family }}</td>
{%- for architecture in table.architectures %}{% set entry = table.entries[method, architecture] -%}
{{ value(entry.value if entry.done else entry.value ~ ' ' ~ entry.status, entry.mean,
         'number' if entry.done else 'number lacking') -}}
<td class="number">{{ entry.count }}</td>
{%- endfor %}</tr>
{%- endfor %}
</tbody></table></div>
<ul class="captions">
{%- for caption in table.captions %}
<li>{{ caption }}</li>
{%- endfor %}
{%- if noise %}
<li>{{ noise }}</li>
{%- endif %}
</ul>
<p>The same as <a href="table.md">Markdown</a> and <a href="table.csv">CSV</a>;
every cell in <a href="{{ results }}">results.csv</a>.</p>

{%- if measured.rows %}
<h2 id="metrics">Further metrics</h2>
<p class="note">From the stored logits on the test set of the final step; mean ± sample standard deviation over seeds.
{%- for metric in measured.metrics %}
{{ metric.column }}: {{ metric.summary or metric.id }} {{ metric.better | capitalize }} is better.
{%- endfor %}</p>
<div class="wide"><table class="sortable">
<thead><tr>{{ head('method', false) }}{{ head('network', false) }}
{%- for metric in measured.metrics %}{{ head(metric.name) }}{% endfor %}</tr></thead>
<tbody>
{%- for row in measured.rows %}
<tr>{{ name(row.method) }}<td data-sort="{{ row.architecture }}">{{ row.architecture }}</td>
{%- for text in row.texts %}{{ value(text, row.means[loop.index0]) }}{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- endif %}
{%- for name, reason in measured.failed %}
<p>The metric <code>{{ name }}</code> could not be computed: {{ reason }}</p>
{%- endfor %}

{%- if differences %}
<h2 id="differences">Against the final step alone</h2>
<p class="note">Test accuracy minus that of the final step alone, in points, paired by seed: mean, 95 % interval and p of
the exact sign-flip test. The interval holds all differences that this test does not reject, so it excludes 0 exactly
where p is at most 0.05; fewer than six seeds have no interval, because no result of theirs can reach 0.05. One comparison
of an architecture is planned, the one of the answer at the head of this page: its p is adjusted by Holm for the
architectures, if there are several. All others are explored, and adjusted by Holm for the explored rows of their table;
k explored methods need more seeds for a claim than one planned comparison. A reference with other data is no candidate. A
difference is claimed if its interval excludes 0, its adjusted p is at most 0.05, it is at least
{{ '%g' | format(smallest) }} {{ 'point' if smallest == 1 else 'points' }}, and both methods were trained to the end.</p>
{%- for architecture, table in differences.items() %}
<h3>{{ architecture }}: minus {{ names(table.reference).column }}</h3>
{%- if table.epochs %}
<p class="note">Best epoch / epochs allowed of {{ names(table.reference).column }}, mean over seeds:
{{ table.epochs }}.</p>
{%- endif %}
<div class="wide"><table class="sortable">
<thead><tr>{{ head('method', false) }}{{ head('difference') }}<th class="number">95 % interval</th>
<th class="number">p</th><th class="number">p (Holm)</th>{{ head('n') }}{{ head('comparison', false) }}
<th>claim</th><th>best epoch / epochs</th></tr></thead>
<tbody>
{%- for row in table.rows %}
<tr>{{ name(row.method) }}{{ value(row.difference, row.sort) }}<td class="number">{{ row.interval }}</td>
<td class="number">{{ row.p }}</td><td class="number">{{ row.adjusted }}</td>{{ value(row.n, row.n) }}
{{ value(row.kind, row.kind, 'text') }}<td>{{ row.claim }}</td><td>{{ row.epochs or '–' }}</td></tr>
{%- endfor %}
</tbody></table></div>
{%- endfor %}
{%- endif %}

{%- if standings %}
<h2 id="standings">Over all architectures and seeds</h2>
<div class="wide"><table class="sortable">
<thead><tr>{{ head('method', false) }}{{ head('gap closed (%)') }}<th class="number">cells</th>
{{ head('above Final (%)') }}<th class="number">cells</th>{{ head('mean rank') }}
{{ head('best (%)') }}{{ head('≤ 1 point (%)') }}{{ head('≤ 2 points (%)') }}</tr></thead>
<tbody>
{%- for row in standings.rows %}
<tr>{{ name(row.method) }}{{ value(share(row.gap), row.gap) }}<td class="number">{{ row.gap_cells }}</td>
{{ value(share(row.improvement), row.improvement) }}<td class="number">{{ row.paired_cells }}</td>
{{ value('–' if row.rank != row.rank else '%.1f' | format(row.rank), row.rank) }}
{%- for part in row.within %}{{ value(share(part), part) }}{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
<ul class="captions">
<li>A cell is one architecture and seed. Gap closed: the share of the way from the final step alone to the oracle, as the
interquartile mean over cells{% if standings.small_gaps %}; {{ standings.small_gaps }} cells whose oracle is less than 2
points above are left out{% endif %}.</li>
<li>Above Final: the probability to be above the final step alone in the same cell, ties counted half.</li>
<li>Mean rank (1 is best), and how often a method is best, or at most 1 or 2 points below the best: on the
{{ standings.shared }} cells that all {% if standings.apart %}methods but
{%- for method in standings.apart %} {{ names(method).column }}{{ ',' if not loop.last }}{% endfor %}
{%- else %}these methods{% endif %} have.
The best is by test accuracy and describes these cells; it chooses nothing.</li>
</ul>
{%- endif %}

{%- for name, reason in undrawn %}
<p>The figure <code>{{ name }}</code> could not be drawn: {{ reason }}</p>
{%- endfor %}
{%- for group in groups %}
<h2>{{ group.heading }}</h2>
{{ pictures(group) }}
{%- endfor %}

<h2 id="models">The models themselves</h2>
{%- for group in models %}
<h3>{{ group.heading }}</h3>
<p class="note">{{ group.says }}</p>
{%- if group.pictures %}
{{ pictures(group) }}
{%- else %}
<p>Not drawn yet. This command draws it, and the next report shows it:</p>
{%- for command in group.commands %}
<pre>{{ command }}</pre>
{%- endfor %}
{%- endif %}
{%- endfor %}

<h2 id="failures">Failures</h2>
{%- for failure in failures %}
<details><summary>{{ failure.method }}, {{ failure.architecture }}, seed {{ failure.seed }}: {{ failure.message }}
</summary><pre>{{ failure.text }}</pre></details>
{%- else %}
<p>No cell failed.</p>
{%- endfor %}

<details id="hyperparameters"><summary>Chosen hyper-parameters</summary>
{%- if stages %}
<p>The chosen grid point of every stage, for each seed. Late gain: the mean validation accuracy over the last quarter of
the epochs allowed minus that over the third quarter; 0 where training stopped earlier.</p>
<div class="wide"><table>
<thead><tr>{% for head in stage_heads %}<th>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for stage in stages %}
<tr>{% for value in stage %}<td>{{ value }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></div>
{%- else %}
<p>No cell is done.</p>
{%- endif %}
</details>

<details id="configuration"><summary>Configuration: what differs from the program's defaults</summary>
<p>{{ table.source }}{% if folders > 1 %} This is the first of {{ folders }} run folders.{% endif %}</p>
<div class="wide"><table>
<thead><tr><th>field</th><th>here</th><th>default</th></tr></thead>
<tbody>
{%- for name, value, default in changed %}
<tr><th scope="row"><code>{{ name }}</code></th><td><code>{{ value }}</code></td><td><code>{{ default }}</code></td></tr>
{%- endfor %}
</tbody></table></div>
</details>

<details id="run"><summary>What was run: protocol, data and versions</summary>
<div class="wide"><table><tbody>
{%- for name, value in facts %}
<tr><th scope="row">{{ name }}</th><td><code>{{ value }}</code></td></tr>
{%- endfor %}
</tbody></table></div>
</details>
"""

PAGE = f"""\
{MACROS}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{{{ table.sequence }}}}: report</title>
<style>
{STYLE}</style>
</head>
<body>
{BODY}<script>
{SCRIPT}</script>
</body>
</html>
"""
