{{%AUTOESCAPE context="HTML"}}{{>HEAD}}
<div class="head"><div><h1>Status</h1><p class="quiet"><span class="tag">Version {{VERSION}}</span> What the gates decide, how long that takes, and how far the stored counts lag behind.</p></div><p><a href="/status">Refresh</a></p></div>
{{#WARNING}}<p class="note {{LOOK}}" role="alert">{{TEXT}}</p>{{/WARNING}}
<section aria-labelledby="now"><h2 id="now">This node, now</h2><div class="grid thirds">
{{#CARD}}<article class="card limit {{LOOK}}"><h3>{{LABEL}}</h3><p class="figure">{{FIGURE}}</p><p class="quiet">{{NOTE}}</p>{{#WORDS}}<p class="word">{{WORD}}</p>{{/WORDS}}</article>
{{/CARD}}</div>
<div class="grid">
{{#DECISIONS}}<div class="card"><h3>Decisions since the limit table was created</h3><table><thead><tr><th scope="col">Decision</th><th scope="col" class="number">Calls</th></tr></thead><tbody>
{{#DECISION}}<tr><td>{{WHAT}}</td><td class="number">{{CALLS}}</td></tr>
{{/DECISION}}</tbody><tfoot><tr><th scope="row">All calls</th><td class="number">{{SUM}}</td></tr></tfoot></table></div>{{/DECISIONS}}
{{#COLLECTOR}}<div class="card"><h3>Collector since its start</h3><table><thead><tr><th scope="col">What</th><th scope="col" class="number">Value</th></tr></thead><tbody>
{{#FACT}}<tr><td>{{NAME}}</td><td class="number fact">{{VALUE}}</td></tr>
{{/FACT}}</tbody></table></div>{{/COLLECTOR}}
</div>
{{#PARTS}}<div class="card"><h3>The collector's workers and jobs</h3><div class="scroll" tabindex="0" role="region" aria-label="The collector's workers and jobs"><table><thead><tr><th scope="col">Worker or job</th><th scope="col">Last done</th><th scope="col" class="number">Took</th><th scope="col">State</th></tr></thead><tbody>
{{#PART}}<tr><td>{{NAME}}</td><td>{{DONE}}</td><td class="number">{{TOOK}}</td><td>{{STATE}}</td></tr>
{{/PART}}</tbody></table></div></div>{{/PARTS}}</section>
<section aria-labelledby="day"><h2 id="day">The last 24 hours</h2>
{{#NO_NODES}}<p class="card">No collector has reported in the last 24 hours. Start tollgate-collector on each node; it writes a sample a minute.</p>{{/NO_NODES}}
{{#NODE}}<article class="card node {{LOOK}}" aria-label="Node {{HOST}}">
<div class="title"><h3>{{HOST}}{{#OWN}} <span class="tag">this node</span>{{/OWN}}</h3><p class="word">{{WORD}}</p></div>
<p class="quiet"><code>{{ID}}</code></p>
{{#NO_DAY}}<p>No samples yet. The collector writes the first as soon as its limit table is filled, then one a minute.</p>{{/NO_DAY}}
{{#DAY}}<dl class="figures"><div><dt>Median</dt><dd>{{MEDIAN}}</dd></div><div><dt>p99</dt><dd>{{P99}}</dd></div><div><dt>Calls</dt><dd>{{CALLS}}</dd></div><div><dt>Refused</dt><dd>{{REFUSED}}</dd></div><div><dt>Worst lag</dt><dd>{{LAG}}</dd></div><div><dt>Largest spool</dt><dd>{{SPOOL}}</dd></div></dl>
<div class="grid thirds charts">
<div><h4>Time in the gate</h4>{{#TIMES}}<p class="axis quiet peak"><span>{{PEAK_TIME}}</span></p>
<svg class="chart" viewBox="0 0 960 100" preserveAspectRatio="none" role="img" aria-label="Bars of p99 and, in front of them, the median of every quarter of an hour; the table below has the numbers">{{#TIME_BAR}}<rect class="{{LOOK}}" x="{{X}}" y="{{Y}}" width="8" height="{{H}}"></rect>{{/TIME_BAR}}</svg>
<p class="axis quiet"><span>{{FROM}}</span><span>now</span></p><p class="key quiet"><span class="tail">p99, behind</span> <span class="some">median, in front</span></p>{{/TIMES}}{{#NO_TIMES}}<p class="quiet">No calls in this time.</p>{{/NO_TIMES}}</div>
<div><h4>Calls</h4>{{#COUNTS}}<p class="axis quiet peak"><span>{{PEAK_CALLS}} in 15 minutes</span></p>
<svg class="chart" viewBox="0 0 960 100" preserveAspectRatio="none" role="img" aria-label="Bars of the calls of every quarter of an hour, the refused ones on top; the table below has the numbers">{{#CALL_BAR}}<rect class="{{LOOK}}" x="{{X}}" y="{{Y}}" width="8" height="{{H}}"></rect>{{/CALL_BAR}}</svg>
<p class="axis quiet"><span>{{FROM}}</span><span>now</span></p><p class="key quiet"><span class="some">let through</span> <span class="refused">refused, on top</span></p>{{/COUNTS}}{{#NO_COUNTS}}<p class="quiet">No calls in this time.</p>{{/NO_COUNTS}}</div>
<div><h4>Lag</h4>{{#LAGS}}<p class="axis quiet peak"><span>{{LAG}}</span></p>
<svg class="chart" viewBox="0 0 960 100" preserveAspectRatio="none" role="img" aria-label="Bars of the worst lag of every quarter of an hour; the table below has the numbers">{{#LAG_BAR}}<rect class="{{LOOK}}" x="{{X}}" y="{{Y}}" width="8" height="{{H}}"></rect>{{/LAG_BAR}}</svg>
<p class="axis quiet"><span>{{FROM}}</span><span>now</span></p><p class="key quiet"><span class="some">age of the oldest event that waited</span></p>{{/LAGS}}{{#NO_LAGS}}<p class="quiet">None: no event was seen waiting for longer than a twentieth of a second.</p>{{/NO_LAGS}}</div>
</div>
{{#BEGINS}}<p class="quiet">Samples of these 24 hours begin at {{SINCE}}.</p>{{/BEGINS}}
{{#GAPS}}<p class="quiet">A gap means that the collector was not running or PostgreSQL was unavailable. Calls that were counted during a gap appear in the first bar after it.</p>{{/GAPS}}
<details><summary>Show the numbers as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Numbers of node {{HOST}}"><table><thead><tr><th scope="col">From (UTC)</th><th scope="col" class="number">Let through</th><th scope="col" class="number">Refused</th><th scope="col" class="number">Median</th><th scope="col" class="number">p99</th><th scope="col" class="number">Lag</th><th scope="col" class="number">Spool</th></tr></thead><tbody>
{{#STEP}}<tr><td>{{AT}}</td><td class="number">{{LET}}</td><td class="number">{{REFUSED}}</td><td class="number">{{MEDIAN}}</td><td class="number">{{P99}}</td><td class="number">{{LAG}}</td><td class="number">{{SPOOL}}</td></tr>
{{/STEP}}</tbody></table></div></details>{{/DAY}}
</article>{{/NODE}}
{{#MORE_NODES}}<p class="quiet">More than ten nodes have reported; the ten that reported most recently are shown. Each node's /metrics has its own numbers.</p>{{/MORE_NODES}}
</section>
<p class="quiet">Times are UTC. Median and p99 come from a histogram with bounds at 1, 2, 5, 10, 20, 50&nbsp;µs and so on to 100&nbsp;ms: the bounds around a value are certain, its place between them is estimated. Lag and spool are the worst values that the collector saw; it looks twice a second.</p>
{{>FOOT}}
