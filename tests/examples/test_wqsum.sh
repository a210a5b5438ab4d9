#!/bin/bash
# wqsum prints what sha256sum prints, for the same files in the same order.
# usage: test_wqsum.sh WQSUM
set -u
wqsum=$1
tmp=$(mktemp -d) || exit 1
trap 'chmod -R u+rwx "$tmp"; rm -rf "$tmp"' EXIT
failed=0

check() {
	if "${@:2}"; then
		echo "ok   $1"
	else
		echo "FAIL $1"
		failed=1
	fi
}

reference() {
	find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
}

same() {
	diff <(reference "$1") <("$wqsum" "$1") >/dev/null
}

mkdir -p "$tmp/tree/a/b/c" "$tmp/tree/a-b" "$tmp/tree/empty" "$tmp/one"
for i in $(seq 1 300); do
	head -c $((i * 37)) /dev/urandom >"$tmp/tree/a/$i"
	echo "$i" >"$tmp/tree/a/b/c/file $i"
done
head -c 5000000 /dev/urandom >"$tmp/tree/large"
: >"$tmp/tree/nothing"
echo 1 >"$tmp/tree/a-b/x"
echo 2 >"$tmp/tree/new
line"
echo 3 >"$tmp/tree/back\\slash"
echo 4 >"$tmp/tree/return"$'\r'
echo 5 >"$tmp/tree/-dash"
ln -s large "$tmp/tree/link"
ln -s . "$tmp/tree/loop"
mkfifo "$tmp/tree/fifo"
echo 6 >"$tmp/one/file"

check "tree as sha256sum" same "$tmp/tree"
check "tree with a slash behind it" same "$tmp/tree/"
check "single file" diff <(sha256sum "$tmp/one/file") <("$wqsum" "$tmp/one/file")
check "a link that is named is followed" diff <(sha256sum "$tmp/tree/link") <("$wqsum" "$tmp/tree/link")
check "arguments in their order" diff \
	<(reference "$tmp/tree"; reference "$tmp/one") <("$wqsum" "$tmp/tree" "$tmp/one")
check "empty directory prints nothing" test -z "$("$wqsum" "$tmp/tree/empty")"
check "sha256sum accepts the list" bash -c "'$wqsum' '$tmp/tree' | sha256sum --check --quiet"

out=$("$wqsum" "$tmp/one/absent" "$tmp/one/file" 2>"$tmp/err")
check "absent file: status 1" test $? -eq 1
check "absent file: the error is named" grep -q "wqsum: $tmp/one/absent: No such file" "$tmp/err"
check "absent file: the rest is printed" test "$out" = "$(sha256sum "$tmp/one/file")"

if [ "$(id -u)" -ne 0 ]; then
	chmod 0 "$tmp/one/file"
	"$wqsum" "$tmp/one" >/dev/null 2>"$tmp/err"
	check "unreadable file: status 1" test $? -eq 1
	check "unreadable file: the error is named" grep -q "file: Permission denied" "$tmp/err"
fi

"$wqsum" >/dev/null 2>"$tmp/err"
check "no arguments: status 1" test $? -eq 1
check "no arguments: usage" grep -q usage "$tmp/err"
"$wqsum" "$tmp/tree" >/dev/full 2>"$tmp/err"
check "full disk: status 1" test $? -eq 1
check "full disk: the error is named" grep -q "write error" "$tmp/err"
check "no progress bar but on a terminal" test -z "$("$wqsum" "$tmp/tree" 2>&1 >/dev/null)"
if command -v script >/dev/null; then
	script -qec "'$wqsum' '$tmp/tree' >/dev/null" /dev/null >"$tmp/tty" </dev/null
	check "progress bar on a terminal" grep -q "100% of" "$tmp/tty"
fi
exit $failed
