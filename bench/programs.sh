#!/bin/bash
# Programs built on libwq beside what people use instead, on the same data, interleaved: wqsum
# beside xargs -P with sha256sum, wqzstd beside zstd -T.  What they print or write is compared, too.
# usage: programs.sh [--rounds N] [--data DIRECTORY] PROGRAM...
#   PROGRAM    the path of wqsum, of wqzstd, or of both
#   --rounds   default 5
#   --data     what is read; default /usr/include
set -u
rounds=5 data=/usr/include level=3 wqsum= wqzstd=
usage() {
	sed -n '/^# usage/,/^set/s/^# //p' "$0" >&2
	exit 2
}
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2-}; shift; [ "$rounds" -gt 0 ] 2>/dev/null || usage ;;
	--data) data=${2-}; shift; [ -d "$data" ] || usage ;;
	*/wqsum | wqsum) wqsum=$1 ;;
	*/wqzstd | wqzstd) wqzstd=$1 ;;
	*) usage ;;
	esac
	shift
done
[ -n "$wqsum$wqzstd" ] || usage

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cpus=$(nproc)

fail() {
	echo "programs.sh: $1" >&2
	exit 1
}

# Adds the milliseconds that a function takes to the file of its name.
timed() {
	local start=$(date +%s%N)
	"$1" || fail "$1 failed"
	echo $((($(date +%s%N) - start) / 1000)) | awk '{ print $1 / 1000 }' >>"$work/$1"
}

median() {
	sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# A line of the table: what, ours, theirs; ratios are paired round by round.
print_row() {
	paste "$work/$2" "$work/$3" | awk '{ print $1 / $2 }' >"$work/ratios"
	printf '%-26s %-4s %10.1f %10.1f %8.2f\n' "$1" ms "$(median "$work/$2")" "$(median "$work/$3")" \
		"$(median "$work/ratios")"
}

# --- sums ---

with_wqsum() {
	"$wqsum" "$data" >"$work/sums-wqsum"
}

# So many files for each process that starting it does not count, and all CPUs have some.
with_xargs() {
	find "$data" -type f -print0 | xargs -0 -r -P "$cpus" -n 64 sha256sum >"$work/sums-xargs"
}

compare_sums() {
	cmp -s <(sort "$work/sums-wqsum") <(sort "$work/sums-xargs") || fail "the sums differ"
}

# --- compressing ---

make_archive() {
	tar -cf "$work/archive" --sort=name -C "$data" . || fail "no archive of $data"
}

with_wqzstd() {
	"$wqzstd" $level "$work/archive" "$work/archive-wqzstd.zst"
}

with_zstd() {
	zstd -q -f "-$level" -T"$cpus" "$work/archive" -o "$work/archive-zstd.zst"
}

size() {
	stat -c %s "$1"
}

compare_archives() {
	zstd -q -d -c "$work/archive-wqzstd.zst" | cmp -s - "$work/archive" ||
		fail "what wqzstd has written is not what it has read"
	awk -v ours="$(size "$work/archive-wqzstd.zst")" -v theirs="$(size "$work/archive-zstd.zst")" \
		'BEGIN { printf "%.4f\n", ours / theirs; exit !(ours / theirs < 1.01 && ours / theirs > 0.99) }' \
		>"$work/size-ratio" || fail "the sizes differ by more than 1 %: $(cat "$work/size-ratio")"
}

# --- all rounds ---

if [ -n "$wqzstd" ] && ! command -v zstd >/dev/null; then
	echo "zstd is not installed: nothing to compare wqzstd with" >&2
	wqzstd=
fi
[ -z "$wqzstd" ] || make_archive
# The first time brings the files into memory, and does not count.
find "$data" -type f -exec cat {} + >/dev/null

for ((round = 1; round <= rounds; round++)); do
	[ -t 2 ] && printf '\rround %d/%d ' "$round" "$rounds" >&2
	if [ -n "$wqsum" ]; then
		timed with_wqsum
		timed with_xargs
		compare_sums
	fi
	if [ -n "$wqzstd" ]; then
		timed with_wqzstd
		timed with_zstd
		compare_archives
	fi
done
[ -t 2 ] && printf '\r\033[K' >&2

printf '%-26s %-4s %10s %10s %8s\n' "program" unit libwq other ratio
[ -z "$wqsum" ] || print_row "wqsum / xargs -P $cpus" with_wqsum with_xargs
if [ -n "$wqzstd" ]; then
	print_row "wqzstd / zstd -T$cpus" with_wqzstd with_zstd
	printf '%-26s %-4s %10d %10d %8s\n' "  size" B "$(size "$work/archive-wqzstd.zst")" \
		"$(size "$work/archive-zstd.zst")" "$(cat "$work/size-ratio")"
fi
echo "medians of $rounds rounds, interleaved; ratios are paired round by round; $cpus CPUs, $data"
