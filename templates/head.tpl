{{%AUTOESCAPE context="HTML"}}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{TITLE}} · Tollgate</title>
<link rel="stylesheet" href="/static/tollgate.css">
<link rel="icon" href="/static/favicon.svg" type="image/svg+xml">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><div>
<a class="brand" href="/"><img src="/static/favicon.svg" width="24" height="24" alt="">Tollgate</a>
{{#SIGNED_IN}}<nav aria-label="Main">
{{#OPERATOR}}<a href="/tenants">Tenants</a> <a href="/status">Status</a> {{/OPERATOR}}
{{#MEMBER}}<a href="/">Usage</a> {{/MEMBER}}
<a href="/account">Account</a>
<form method="post" action="/sign-out"><input type="hidden" name="csrf" value="{{CSRF}}"><button class="link">Sign out</button></form>
</nav>{{/SIGNED_IN}}
</div></header>
<main id="main">
