"""The HTML of a report, as a jinja2 template."""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ table.sequence }}: report</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #888; } .number { text-align: right; white-space: nowrap; }
.lacking { color: #6e6e6e; font-style: italic; }
.captions { color: #555; font-size: .9rem; padding-left: 1.2rem; }
.answer { font-size: 1.1rem; border-left: .3rem solid #0072B2; padding-left: .8rem; max-width: 46rem; }
img { max-width: 100%; height: auto; } pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; }
code { overflow-wrap: anywhere; }
details { margin-top: 1.4rem; } summary { font-size: 1.15rem; font-weight: 600; cursor: pointer; }
@media print { details > * { display: block; } img { break-inside: avoid; } }
@media (prefers-color-scheme: dark) {
  body { background: #161616; color: #e6e6e6; } a { color: #8ab8ff; } pre { background: #262626; }
  th, td { border-color: #444; } .captions { color: #aaa; } img { background: #fff; }
}
</style>
</head>
<body>
<h1>{{ table.title }}</h1>
{%- for paragraph in answer %}
<p class="answer">{{ paragraph }}</p>
{%- endfor %}

<h2 id="results">Results</h2>
<div class="wide"><table>
<thead><tr><th>method</th><th></th>
{%- for architecture in table.architectures %}<th class="number">{{ architecture }}</th><th class="number">n</th>
{%- endfor %}</tr></thead>
<tbody>
{%- for method in table.methods %}
<tr><td>{{ names(method).column }}</td><td>{{ names(method).legend }}</td>
{%- for architecture in table.architectures %}{% set entry = table.entries[method, architecture] -%}
<td class="number{{ '' if entry.done else ' lacking' }}">
{{- entry.value if entry.done else entry.value ~ ' ' ~ entry.status }}</td><td class="number">{{ entry.count }}</td>
{%- endfor %}</tr>
{%- endfor %}
</tbody></table></div>
<ul class="captions">
{%- for caption in table.captions %}
<li>{{ caption }}</li>
{%- endfor %}
</ul>
<p>The same as <a href="table.md">Markdown</a> and <a href="table.csv">CSV</a>;
every cell in <a href="../results.csv">results.csv</a>.</p>

<h2 id="figures">Figures</h2>
{%- for name, reason in undrawn %}
<p>The figure <code>{{ name }}</code> could not be drawn: {{ reason }}</p>
{%- endfor %}
{%- for figure in figures %}
{%- if figure.endswith('.csv') %}
<p>Its numbers: <a href="../figures/{{ figure }}">{{ figure }}</a></p>
{%- else %}
<p><a href="../figures/{{ figure }}"><img src="{{ pictures[figure] }}" alt="{{ figure }}"></a></p>
{%- endif %}
{%- else %}
<p>No figure yet: no cell is done.</p>
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
<p>The chosen grid point of every stage, for each seed.</p>
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

<details id="run"><summary>What was run: configuration, data and versions</summary>
<div class="wide"><table><tbody>
{%- for name, value in facts %}
<tr><th scope="row">{{ name }}</th><td><code>{{ value }}</code></td></tr>
{%- endfor %}
</tbody></table></div>
</details>
</body>
</html>
"""
