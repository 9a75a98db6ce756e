# What every bench reports with; tests/bench/*.sh source it. A bench calls
#   report_begin NAME "Title"          once
#   report_table <<< "TSV with a head line"      any number of times: printed, and kept for the page
#   report_note "sentence"             any number of times
#   report_bars "unit" <<< "label<TAB>value"     or
#   report_lines "x label" "y label" <<< "x<TAB>series one<TAB>…, with a head line"   one picture
#   report_end '{"json":…}'            once: writes docs/bench/NAME.md and prints the last line
# LOA_BENCH_OUT names another folder than docs/bench, for trials that are not to be kept.

report_begin() {
    report_name=$1 report_title=$2
    report_out=${LOA_BENCH_OUT:-docs/bench}
    report_tmp=$(mktemp -d)
    report_body=$report_tmp/body
    mkdir -p "$report_out"
    report_where="$(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(
        sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release), $(date -u +%Y-%m-%d)"
    : >"$report_body"
    printf '%s\n%s\n' "$report_title" "$report_where"
}

# median NUMBER...
median() {
    printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 }
        END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# ratio A B: A / B with three decimals
ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN { if (b == 0) print "null"; else printf "%.3f\n", a / b }'
}

report_table() {
    local tsv=$report_tmp/table
    cat >"$tsv"
    echo
    awk -F '\t' '{ for (i = 1; i <= NF; i++) { cell[NR, i] = $i; n = length($i)
                if (n > width[i]) width[i] = n } if (NF > columns) columns = NF }
        END { for (r = 1; r <= NR; r++) { line = ""
                for (i = 1; i <= columns; i++)
                    line = line sprintf(i == 1 ? "%-" width[i] "s" : "  %" width[i] "s", cell[r, i])
                print line } }' "$tsv"
    awk -F '\t' '{ line = "|"; for (i = 1; i <= NF; i++) line = line " " $i " |"; print line }
        NR == 1 { line = "|---|"; for (i = 2; i <= NF; i++) line = line "--:|"; print line }
        END { print "" }' "$tsv" >>"$report_body"
}

report_note() {
    printf '\n%s\n' "$1"
    printf '%s\n\n' "$1" >>"$report_body"
}

report_plot() { # reads the rest of the gnuplot script
    {
        cat <<HEAD
set terminal svg size 760,420 dynamic font 'sans-serif,13' background '#ffffff'
set output '$report_out/$report_name.svg'
set datafile separator '\t'
set title "$report_title" noenhanced font 'sans-serif,15' textcolor '#222222'
set label 1 "$report_where" noenhanced at screen 0.99,0.03 right font 'sans-serif,10' textcolor '#777777'
set bmargin 5
set border 3 linecolor '#999999'
set tics nomirror textcolor '#444444'
set grid ytics linecolor '#e5e5e5' linetype 1
HEAD
        cat
    } | gnuplot
    printf '![%s](%s.svg)\n\n' "$report_title" "$report_name" >>"$report_body"
}

report_bars() { # UNIT
    cat >"$report_tmp/bars"
    report_plot <<PLOT
set ylabel "$1" noenhanced textcolor '#444444'
set style fill solid 1.0 noborder
set boxwidth 0.6
set yrange [0:*]
set offsets 0,0,graph 0.08,0
set xtics noenhanced
plot '$report_tmp/bars' using 0:2:xtic(1) with boxes linecolor '#1f6f8b' notitle, \
     '' using 0:2:(gprintf('%.4g', \$2)) with labels offset 0,0.8 textcolor '#222222' notitle
PLOT
}

report_lines() { # XLABEL YLABEL [gnuplot setting...]
    local x=$1 y=$2
    shift 2
    cat >"$report_tmp/lines"
    report_plot <<PLOT
set xlabel "$x" noenhanced textcolor '#444444'
set ylabel "$y" noenhanced textcolor '#444444'
set yrange [0:*]
set key autotitle columnhead noenhanced top left reverse Left
set linetype 1 linecolor '#1f6f8b' linewidth 2 pointtype 7
set linetype 2 linecolor '#d1495b' linewidth 2 pointtype 5
set linetype 3 linecolor '#edae49' linewidth 2 pointtype 9
set linetype 4 linecolor '#66a182' linewidth 2 pointtype 11
$(printf '%s\n' "$@")
plot for [i=2:$(awk -F '\t' 'NR == 1 { print NF }' "$report_tmp/lines")] '$report_tmp/lines' using 1:i with linespoints linetype i-1 pointsize 0.7
PLOT
}

report_end() {
    {
        printf '# %s\n\nMeasured with `script/bench %s` on %s.\n\n' "$report_title" "$report_name" \
            "$report_where"
        cat "$report_body"
        printf '```json\n%s\n```\n' "$1"
    } >"$report_out/$report_name.md"
    rm -rf "$report_tmp"
    printf '\n%s\n' "$1"
}

# Installs the peers' packages under build/peers when their lock file is new, and points node there.
bench_peers() {
    local from=tests/bench/peers to=build/peers
    export NODE_PATH=$PWD/$to/node_modules
    cmp -s $from/package-lock.json $to/installed && return
    mkdir -p $to
    cp $from/package.json $from/package-lock.json $from/.npmrc $to/
    (cd $to && npm ci --no-progress >npm.log 2>&1) || {
        tail -20 $to/npm.log >&2
        return 1
    }
    cp $from/package-lock.json $to/installed
}
