{{%AUTOESCAPE context="HTML"}}{{>HEAD}}
<div class="head"><div><h1>{{NAME}}</h1><p class="quiet"><span class="tag">{{PLAN}}</span> {{START}} to {{END}} · {{LEFT}}</p></div>
{{#REFRESH}}<form method="post" action="{{REFRESH_PATH}}"><input type="hidden" name="csrf" value="{{CSRF}}"><button class="plain">Refresh counts</button></form>{{/REFRESH}}</div>
{{#NOTICE}}<p class="note good" role="status">Counts refreshed. Storage updates within five minutes.</p>{{/NOTICE}}
{{#WARNINGS}}<section class="card alerts" aria-label="Warnings"><ul>{{#WARNING}}<li class="{{LOOK}}"><span class="word">{{WORD}}</span> {{TEXT}}</li>{{/WARNING}}</ul></section>{{/WARNINGS}}
{{#REFUSED}}<p class="note over">⊘ {{WHY}}.</p>{{/REFUSED}}
<section aria-labelledby="limits"><h2 id="limits">Limits of the plan</h2><div class="grid">
{{#LIMIT}}<article class="card limit {{LOOK}}">
<h3>{{LABEL}}</h3>
<p class="figure">{{USED}} <small>{{OF}}</small></p>
<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{{#FILL}}<rect x="0" y="0" width="{{WIDTH}}" height="8"></rect>{{/FILL}}</svg>
<p class="foot quiet"><span>{{REST}}</span><span>{{PERCENT}}</span></p>
<p class="word">{{WORD}}</p>{{#SAY}}
<p class="say">{{WORDS}}.</p>{{/SAY}}
</article>{{/LIMIT}}
{{#LEFT_OUT}}<article class="card limit none"><h3>⊘ Not included in this plan</h3><ul class="plain">{{#WHAT}}<li>{{LABEL}}</li>{{/WHAT}}</ul></article>
{{/LEFT_OUT}}</div></section>
{{#REFUSALS}}<section class="card" aria-labelledby="refusals"><h2 id="refusals">Refused in the last 24 hours</h2><ul class="plain">{{#REFUSAL}}<li>{{COUNT}} by {{LABEL}}, the last in the hour of {{LAST}}</li>{{/REFUSAL}}</ul></section>{{/REFUSALS}}
<section class="card" aria-labelledby="calls"><h2 id="calls">API calls in the last 30 days</h2>
{{#DAYS}}<p class="figure">{{TOTAL}} <small>calls, at most {{PEAK}} on a day</small></p>
<p class="axis quiet peak"><span>{{PEAK}}</span></p>
<svg class="chart" viewBox="0 0 300 100" preserveAspectRatio="none" role="img" aria-label="Bar chart of the calls of each day; the table below has the numbers">{{#DAY}}<rect class="{{LOOK}}" x="{{X}}" y="{{Y}}" width="7" height="{{H}}"></rect>{{/DAY}}</svg>
<p class="axis quiet"><span>{{FIRST_DAY}}</span><span>{{LAST_DAY}}</span></p>
<details><summary>Show the numbers as a table</summary><table><thead><tr><th scope="col">Day</th><th scope="col" class="number">Calls</th></tr></thead><tbody>{{#DAY}}<tr><td>{{DATE}}</td><td class="number">{{CALLS}}</td></tr>{{/DAY}}</tbody></table></details>{{/DAYS}}
{{#NO_CALLS}}<p class="figure">No calls yet</p>
<p>Calls to <code>{{PREFIX}}</code> with this tenant's key appear here within seconds:</p>
<pre tabindex="0" role="region" aria-label="The first call, as a command"><code>curl -H "Authorization: Bearer KEY" {{ORIGIN}}{{PREFIX}}/…</code></pre>
{{#MAKE_KEY}}<p class="quiet">Make a key with <code>tollgate key create NAME --tenant {{TENANT}}</code>; it is shown once.</p>{{/MAKE_KEY}}{{#ASK_KEY}}<p class="quiet">Ask the operator of this service for a key.</p>{{/ASK_KEY}}{{/NO_CALLS}}
</section>
{{#ENDPOINTS}}<section class="card" aria-labelledby="top"><h2 id="top">Most called endpoints</h2>
<table><thead><tr><th scope="col">Method</th><th scope="col">Endpoint</th><th scope="col" class="number">Calls</th></tr></thead><tbody>{{#ENDPOINT}}<tr><td>{{METHOD}}</td><td><code>{{PATH}}</code></td><td class="number">{{CALLS}}</td></tr>{{/ENDPOINT}}</tbody></table></section>{{/ENDPOINTS}}
<p class="quiet">Last updated {{UPDATED}}. Days and times are those of {{ZONE}}.</p>
{{>FOOT}}
