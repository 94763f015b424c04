{{%AUTOESCAPE context="HTML"}}{{>HEAD}}
<div class="narrow">
<div class="head"><div><h1>Account</h1><p class="quiet">{{EMAIL}} · {{ROLE}}</p></div></div>
{{#PROBLEM}}<p class="note over" role="alert">{{TEXT}}</p>{{/PROBLEM}}
<form class="card" method="post" action="/account">
<h2>Change the password</h2>
<input type="hidden" name="csrf" value="{{CSRF}}">
<div class="field"><label for="current">Current password</label><input id="current" name="current" type="password" autocomplete="current-password" required maxlength="1024"></div>
<div class="field"><label for="new">New password</label><input id="new" name="new" type="password" autocomplete="new-password" required minlength="12" maxlength="1024" aria-describedby="rule"><p class="quiet" id="rule">At least 12 characters, and none that everybody tries first. You are signed out everywhere.</p></div>
<button>Change password</button>
</form>
</div>
{{>FOOT}}
