# Tollgate behind Apache 2.4, the part for the whole server, generated from {{CONF}} by `tollgate config apache server`.
# Change that file, not this one, and generate this one again. In Debian: conf-available/tollgate.conf, and a2enconf tollgate.
#
# Apache would start without these and do nothing of what they are asked.
{{#MODULE}}
<IfModule !{{NAME}}_module>
  Error "Tollgate needs Apache's module {{NAME}}: a2enmod {{NAME}}"
</IfModule>
{{/MODULE}}
AuthnzFcgiDefineProvider authn tollgate fcgi://{{GATE}}/
