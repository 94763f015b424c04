{{%AUTOESCAPE context="HTML"}}{{>HEAD}}
<div class="narrow">
<div class="head"><h1>Sign in</h1></div>
{{#PROBLEM}}<p class="note over" role="alert">{{TEXT}}</p>{{/PROBLEM}}
{{#NOTICE}}<p class="note good" role="status">{{TEXT}}</p>{{/NOTICE}}
<form class="card" method="post" action="/sign-in">
<input type="hidden" name="csrf" value="{{CSRF}}">
<div class="field"><label for="email">E-mail address</label><input id="email" name="email" type="email" autocomplete="username" required maxlength="320" value="{{EMAIL}}"></div>
<div class="field"><label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024"></div>
<button>Sign in</button>
</form>
<p class="quiet">No account or forgot your password? Ask your administrator.</p>
</div>
{{>FOOT}}
