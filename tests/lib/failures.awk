# failures.awk: out of a suite's log, every test that failed and what it said, cut short; nothing where nothing failed.
# Reads node's TAP, CUnit's output, "NOT OK: …" and "not ok: …" of the programs here, and what sanitizers report.
function say(text) { print "  " substr(text, 1, 240) }

# The message below "not ok": one line in quotes, or a block (error: |-) of which the first lines that say something count.
in_block {
    match($0, /^ */)
    if (RLENGTH > block_indent || NF == 0) {
        if (NF > 0 && lines++ < 6)
            say("    " substr($0, block_indent + 3))
        next
    }
    in_block = 0
}
/^ *not ok [0-9]+ - / { name = $0; sub(/^ *not ok [0-9]+ - /, "", name); gsub(/\\#/, "#", name); kind = ""; next }
name != "" && /^ *failureType: / { kind = $2 }
name != "" && /^ *error: / {
    if (kind != "'subtestsFailed'") {
        say(name)
        match($0, /^ */)
        block_indent = RLENGTH
        lines = 0
        in_block = $2 ~ /^[|>]/
        if (!in_block) {
            sub(/^ *error: /, "")
            say("    " $0)
        }
    }
    name = ""
    next
}
# A program's own list at its end takes the place of what it said on the way.
/^What failed:$/ { n = 0; next }
/^ *(NOT OK|not ok): / { sub(/^ */, ""); line[n++] = $0; next }
/^ *Suite .*, Test .* had failures:/ { sub(/^ */, ""); say($0); cunit = 1; next }
cunit && /^ *[0-9]+\. / { sub(/^ */, ""); say("    " $0); next }
{ cunit = 0 }
/ERROR: (Address|Leak)Sanitizer|runtime error: / { sub(/^ */, ""); say($0) }
END { for (i = 0; i < n; i++) say(line[i]) }
