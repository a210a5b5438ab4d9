#!/bin/sh
# What queueing and running an item take on machines of several sizes, which the library pretends:
# instructions, and accesses to memory that miss a cache of so many lines, both for each item.
# Lines that a call needs each time stop missing once there is room for all of them; what still
# misses then is new for each item.  docs/scaling.md explains the figures.
# usage: lines.sh COUNTS_PROGRAM
program=$1
[ -x "$program" ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
nr_calls=1000

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# The sums of these events over a function and what it calls, one call's worth.
each() {
	callgrind_annotate --inclusive=yes --threshold=100 --show="$2" --sort=Ir "$work/out.1" |
		awk -v fn="$1" -v nr=$nr_calls -v nr_digits="$3" '
			{ gsub(/\([^)]*\)/, "") }
			$0 ~ ":" fn " " {
				for (i = 1; $i ~ /^[0-9,]+$/; i++) { gsub(",", "", $i); sum += $i }
				printf "%.*f\n", nr_digits, sum / nr; exit
			}'
}

printf '%-22s %-18s %8s %9s' machine function instr. accesses
for lines in 8 16 24 32 48; do printf ' %6s' "$lines"; done
printf '\n'

for machine in "core:2 pu:1" "l3:1 core:2 pu:1" "node:2 l3:2 core:8 pu:2" "node:16 l3:4 core:8 pu:2"; do
	for lines in 8 16 24 32 48; do
		WQ_TOPOLOGY=$machine valgrind --quiet --tool=callgrind --fair-sched=try --cache-sim=yes \
			--D1=$((lines * 64)),$lines,64 --callgrind-out-file="$work/out" "$program" busy \
			2>"$work/log" || { cat "$work/log"; exit 1; }
		for fn in wq_queue worker_run_locked; do
			each $fn Ir 0 >"$work/$fn.instructions"
			each $fn Dr,Dw 0 >"$work/$fn.accesses"
			each $fn D1mr,D1mw 1 >"$work/$fn.$lines"
		done
		rm -f "$work"/out*
	done
	for fn in wq_queue worker_run_locked; do
		printf '%-22s %-18s %8s %9s' "$machine" $fn "$(cat "$work/$fn.instructions")" \
			"$(cat "$work/$fn.accesses")"
		for lines in 8 16 24 32 48; do printf ' %6s' "$(cat "$work/$fn.$lines")"; done
		printf '\n'
	done
done
