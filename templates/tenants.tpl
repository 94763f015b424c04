{{%AUTOESCAPE context="HTML"}}{{>HEAD}}
<div class="head"><div><h1>Tenants</h1><p class="quiet">Closest to a limit first.</p></div></div>
<form class="search card" method="get" action="/tenants" role="search"><div><label for="q">Name or id</label><input id="q" name="q" type="search" maxlength="255" value="{{SEARCH}}"></div><button class="plain">Search</button></form>
{{#EMPTY}}<p class="card">No tenant matches. <a href="/tenants">Show all tenants</a></p>{{/EMPTY}}
{{#LIST}}<section class="card" aria-label="Tenants">
<table><thead><tr><th scope="col">Tenant</th><th scope="col" class="wide">Plan</th><th scope="col" class="wide">Nearest limit</th><th scope="col" class="number">Used</th></tr></thead><tbody>
{{#ROW}}<tr><td><a href="{{PATH}}">{{NAME}}</a><small>{{ID}}</small><small class="slim">{{PLAN}}{{#OFF}} · {{STATE}}{{/OFF}}</small></td><td class="wide">{{PLAN}}<small>{{STATE}}</small></td><td class="wide">{{LIMIT}}</td><td class="number {{LOOK}}">{{PERCENT}}{{#FILL}}<svg class="bar mini" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect x="0" y="0" width="{{WIDTH}}" height="8"></rect></svg>{{/FILL}}<small class="word">{{WORD}}</small></td></tr>
{{/ROW}}</tbody></table>
</section>{{/LIST}}
{{#MORE}}<p><a href="/tenants?q={{SEARCH:u}}&amp;percent={{AFTER:u}}&amp;after={{AFTER_ID:u}}">Next tenants</a></p>{{/MORE}}
{{>FOOT}}
