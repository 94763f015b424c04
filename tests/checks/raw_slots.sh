#!/bin/sh
# raw_slots.sh: a template's slot that is not escaped has to stand in tests/checks/raw_slots.txt with its reason.
known=tests/checks/raw_slots.txt
status=0
for slot in $(grep -rnoE '\{\{[A-Z_0-9]+:none\}\}' templates 2>/dev/null | sed -E 's/^([^:]+):[0-9]+:/\1:/'); do
    if ! grep -qF "$slot" "$known"; then
        echo "raw_slots: $slot is written without escaping and not listed in $known"
        status=1
    fi
done
if grep -rnE 'AUTOESCAPE *context="?(UNKNOWN|NONE)|TemplateString.*NoEscape' templates lib/web 2>/dev/null; then
    echo "raw_slots: auto-escaping is switched off there"
    status=1
fi
[ $status -eq 0 ] && echo "raw_slots: clean"
exit $status
