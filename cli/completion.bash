# completion.bash: bash's completion of tollgate; commands and options are those that `tollgate help` names.
_tollgate() {
    local word=${COMP_WORDS[COMP_CWORD]} given="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --config) ((i++)) ;;
        -*) ;;
        *) given+="${given:+ }${COMP_WORDS[i]}" ;;
        esac
    done
    case ${COMP_WORDS[COMP_CWORD - 1]} in --config | --storage | --check) return ;; esac # a file: bash's own
    mapfile -t COMPREPLY < <(compgen -W "$(tollgate help 2>/dev/null | awk -v given="$given" -v word="$word" '
        function options(line) {
            while (match(line, /--[a-z][a-z-]*/)) {
                print substr(line, RSTART, RLENGTH)
                line = substr(line, RSTART + RLENGTH)
            }
        }
        BEGIN { n = split(given, g, " ") }
        /^  --/ && word ~ /^-/ { options($1) }
        /^  tollgate / {
            group = $3 ~ /^[a-z]+$/
            if (word ~ /^-/) { if (g[1] == $2 && (!group || g[2] == $3)) options($0) }
            else if (n == 0) print $2
            else if (n == 1 && group && g[1] == $2) print $3
            else if (n == 2 && group && g[1] == $2 && g[2] == $3 && $4 ~ /^[a-z]+([|][a-z]+)+$/)
                for (i = split($4, word_of, "|"); i > 0; i--) print word_of[i]
        }')" -- "$word" | sort -u)
}
complete -o default -F _tollgate tollgate
