package main

import (
	"strings"
	"testing"
)

func TestQemuArgs(t *testing.T) {
	k := &kernel{dir: "/k"}
	args := strings.Join(qemuArgs(k, "/i", &runOptions{memory: 512, cpus: 3, accel: "tcg", append: "thash_entries=4"}), " ")
	for _, want := range []string{"-cpu max,-cx16 ", "-smp 3 ", "-m 512 ", "-kernel /k/vmlinux ", "-initrd /i ", " thash_entries=4 "} {
		if !strings.Contains(args, want) {
			t.Errorf("no %q in %s", want, args)
		}
	}
}

func TestShellQuote(t *testing.T) {
	got := shellQuote([]string{"qemu", "-append", "a b", "", "it's"})
	if want := `qemu -append 'a b' '' 'it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
