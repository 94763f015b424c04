#!/bin/sh
# hardening.sh: the programs are position-independent, their tables are read-only and, on x86, indirect calls land on endbr only.
status=0
wrong() { echo "hardening: $1"; status=1; }
for program in tollgate-gate tollgate-web tollgate-collector tollgate; do
    file=${BUILD:-build}/release/$program
    [ -x "$file" ] || continue
    readelf -h "$file" | grep -q 'Type: *DYN' || wrong "$program is not position-independent"
    readelf -d "$file" | grep -q 'BIND_NOW\|Flags:.*NOW' || wrong "$program binds late"
    readelf -lW "$file" | grep -q GNU_RELRO || wrong "$program has no RELRO"
    case $(readelf -h "$file" | sed -n 's/ *Machine: *//p') in
    *X86-64 | *80386) objdump -d --no-show-raw-insn --disassemble=main "$file" | grep -q 'endbr' || wrong "$program is built without -fcf-protection" ;;
    esac
done
[ $status -eq 0 ] && echo "hardening: clean"
exit $status
