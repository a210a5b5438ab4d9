#!/bin/sh
# Run a program and compare what it prints with a file.
# usage: check-output.sh EXPECTED PROGRAM [ARG...]
expected=$1
shift
out=$("$@") || { echo "exit status $?"; exit 1; }
printf '%s\n' "$out" | diff -u "$expected" -
