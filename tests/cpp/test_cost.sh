#!/bin/bash
# C++ adds at most 12 instructions to a call of C, and to the run of a small function; counted.
# usage: test_cost.sh PROGRAM
most=12
command -v valgrind >/dev/null || { echo "no valgrind"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
valgrind --quiet --tool=callgrind --callgrind-out-file="$work/out" "$1" || exit 1
callgrind_annotate --threshold=100 "$work/out" >"$work/costs" || exit 1

# Instructions of the functions themselves, of which the name matches, in 100 calls of each.
instructions() {
	awk -v name="$1" '$0 ~ name && !/=>/ { gsub(",", "", $1); sum += $1 } END { print sum / 100 }' "$work/costs"
}

failed=0
compare() {
	local c=$(instructions "$2") cpp=$(instructions "$3")
	echo "$1: C $c, C++ $cpp"
	awk -v c="$c" -v cpp="$cpp" -v most=$most 'BEGIN { exit !(c > 0 && cpp > 0 && cpp - c <= most) }' || failed=1
}
compare "queue an item" ':cost_queue_c( |$)' ':cost_queue_cpp( |$)'
compare "queue it after a delay" ':cost_delay_c( |$)' ':cost_delay_cpp( |$)'
compare "post a function" ':cost_post_c( |$)' ':cost_post_cpp( |$)'
compare "run an item" 'cost_run_c' 'wqi::item<.*::run<'
compare "run a function" 'cost_call_c' 'wqi::run_pointer<'
exit $failed
