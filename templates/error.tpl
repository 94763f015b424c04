{{%AUTOESCAPE context="HTML"}}{{>HEAD}}
<div class="head"><div><p class="quiet">Error {{STATUS}}</p><h1>{{MESSAGE}}</h1></div></div>
<p>{{DETAIL}}</p>
<p><a href="/">Go to the start page</a></p>
<p class="quiet">Request {{REQUEST}}</p>
{{>FOOT}}
