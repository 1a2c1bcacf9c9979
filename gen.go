// Package twtrace holds what generates the kernel side of the tracer.
package twtrace

//go:generate go tool bpf2go -go-package tracer -output-dir internal/tracer -cc "sh internal/tools/clang.sh" -strip llvm-strip-19 -target bpfel,bpfeb -type event -type conn -type proc -type follow -type tally -type kind -type why -type call -type loss -type event_flags -type role -type side -type adoption -type shared bpf bpf/twtrace.bpf.c -- -I. -Ibpf/headers -mcpu=v3 -O2 -Wall -Werror
