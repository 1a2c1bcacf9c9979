package main

import (
	"strings"
	"testing"
)

func TestParseLdd(t *testing.T) {
	libs, err := parseLdd("\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n")
	if want := "/lib/libc.so.6 /lib64/ld-linux-x86-64.so.2"; err != nil || strings.Join(libs, " ") != want {
		t.Errorf("got %v, %v, want %s", libs, err, want)
	}
	if libs, err := parseLdd("\tlibelf.so.1 => not found\n"); err == nil {
		t.Errorf("a missing library: got %v, want an error", libs)
	}
}
