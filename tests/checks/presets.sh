#!/bin/sh
# presets.sh: what one kind of host counts is rows of a preset; the programs and the SQL functions name none of it. These files may:
# the preset itself, the fixed view (the specification's table, JSON and report), the demo's data, and what upgrades old databases.
may='^(sql/presets/|sql/demo/|sql/upgrade\.sql$|sql/schema/001_schema\.sql$|sql/functions/summary\.sql$|lib/store/usage\.[ch]$|cgi/web/api_(usage|report)\.c$|lib/base/password_common\.txt$)'
found=$(grep -rliE 'patient|appointment' cgi cli collector lib sql templates htdocs conf ./*-conf | sed 's|^\./||' | grep -vE "$may")
[ -z "$found" ] || { echo "presets: only a preset and the fixed view name patients and appointments:
$found"; exit 1; }
found=$(grep -niE 'patient|appointment' sql/schema/001_schema.sql | grep -vE 'patients_count     bigint|appointments_count bigint')
[ -z "$found" ] || { echo "presets: only the columns of usage_summary are the fixed view's:
$found"; exit 1; }
echo "presets: clean"
