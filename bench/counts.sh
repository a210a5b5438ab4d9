#!/bin/sh
# Compares how many instructions the library takes with what counts.txt says, within 5 %.
# usage: counts.sh [--renew] COUNTS_PROGRAM "BUILD" COUNTS_FILE
# BUILD is what the counts depend on; with another one than the file's, nothing is compared (77).
# --renew writes the file: after a change that is meant to cost, or to save, what it does.
renew=false
[ "$1" = --renew ] && { renew=true; shift; }
program=$1 build=$2 file=$3
nr_calls=1000 percent=5

command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed"; exit 77; }
reference=$(sed -n 's/^build: //p' "$file")
if ! $renew && [ "$build" != "$reference" ]; then
	echo "skipped: counted for '$reference', and this is '$build'"
	exit 77
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# What is looked at: a phase of the program, and a function that it calls 1,000 times.
looked_at="wake wq_queue
busy wq_queue
busy worker_run_locked
again wq_queue
again worker_run_locked
call wq_call
timer wq_queue_delayed
timer wq_delayed_work_cancel
mod wq_mod_delayed
cancel wq_work_cancel
idle wq_work_flush
idle wq_work_cancel_sync"

# The statistics of the phase itself are the program's first dump.
for phase in $(echo "$looked_at" | cut -d ' ' -f 1 | uniq); do
	valgrind --quiet --tool=callgrind --fair-sched=try --callgrind-out-file="$work/out" \
		"$program" "$phase" || { echo "phase $phase failed"; exit 1; }
	callgrind_annotate --inclusive=yes --threshold=100 "$work/out.1" >"$work/$phase" || exit 1
	rm -f "$work"/out*
done

# Instructions a call.
count() {
	awk -v fn="$2" -v nr=$nr_calls '
		{ sub(/\([^)]*\)/, "", $0) }
		$2 ~ ":" fn "$" { gsub(",", "", $1); printf "%.0f\n", $1 / nr; found = 1; exit }
		END { exit !found }' "$work/$1"
}

echo "$looked_at" | while read -r phase fn; do
	nr=$(count "$phase" "$fn") || {
		echo "no function $fn in phase $phase: inlined, or under another name?" >&2
		exit 1
	}
	echo "$phase $fn $nr"
done >"$work/now"
[ "$(wc -l <"$work/now")" -eq "$(echo "$looked_at" | wc -l)" ] || exit 1

if $renew; then
	{ sed -n '/^#/p' "$file" && echo "build: $build" && cat "$work/now"; } >"$work/file" &&
		cp "$work/file" "$file"
fi

awk -v percent=$percent '
	NR == FNR { if (NF == 3 && $1 !~ /^#/) was[$1 " " $2] = $3; next }
	FNR == 1 { printf "%-8s %-24s %8s %8s %8s\n", "phase", "function", "was", "is", "change" }
	{
		before = was[$1 " " $2]
		change = before ? 100 * ($3 - before) / before : 100
		off = change > percent || change < -percent
		failed += off
		printf "%-8s %-24s %8d %8d %+7.1f%%%s\n", $1, $2, before, $3, change, off ? " <" : ""
	}
	END {
		if (failed)
			printf "%d of %d counts changed by more than %d %%. If that is meant: " \
				"ninja -C BUILD renew-counts\n", failed, FNR, percent
		exit failed > 0
	}' "$file" "$work/now"
