#!/bin/sh
# clang.sh ARGS... is clang-19 for bpf2go, making the same object in every checkout.
# clang writes the forward declarations of BTF in the order of their addresses in its
# memory, and those depend on how long the paths and variables are that it is given.
# So it gets paths of the same length everywhere, and no variables.
set -eu
clang=$(command -v clang-19) || {
	echo "clang.sh: there is no clang-19: make generate installs it" >&2
	exit 1
}
here=$PWD
dir=$(mktemp -d /tmp/twtrace-bpf.XXXXXX)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cp -R bpf vmlinux.h "$dir"

# Paths become relative. What follows -o is written to out.o, and copied.
out= last=
for arg; do
	shift
	case $arg in
	"$here"/*) arg=${arg#"$here"/} ;;
	-fdebug-prefix-map="$here"/*) continue ;; # there is no path to hide
	esac
	if [ "$last" = -o ]; then
		out=$arg arg=out.o
	fi
	last=$arg
	set -- "$@" "$arg"
done
(cd "$dir" && env -i "$clang" "$@")
[ -z "$out" ] || cp "$dir/out.o" "$here/$out"
