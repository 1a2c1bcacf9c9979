package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadOrder(t *testing.T) {
	deps := map[string][]string{
		"tcp_diag":     {"inet_diag"},
		"inet_diag":    nil,
		"nf_conntrack": {"nf_defrag_ipv4", "libcrc32c", "nf-defrag-ipv6"},
		"libcrc32c":    {"crc32c_generic"},
		"veth":         nil,
	}
	order, err := loadOrder([]string{"tcp-diag", "nf_conntrack", "veth", "inet_diag"},
		func(name string) ([]string, error) { return deps[name], nil })
	if err != nil {
		t.Fatal(err)
	}
	want := "inet_diag tcp_diag nf_defrag_ipv4 crc32c_generic libcrc32c nf_defrag_ipv6 nf_conntrack veth"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLoadOrderErrors(t *testing.T) {
	circle := map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}
	if order, err := loadOrder([]string{"a"}, func(name string) ([]string, error) { return circle[name], nil }); err == nil {
		t.Errorf("a circle: got %v, want an error", order)
	}
	missing := errors.New("missing")
	if _, err := loadOrder([]string{"a"}, func(string) ([]string, error) { return nil, missing }); !errors.Is(err, missing) {
		t.Errorf("got %v, want %v", err, missing)
	}
}

func TestDependencies(t *testing.T) {
	exists := func(name string) bool { return slices.Contains([]string{"crc32c_generic", "aead2", "later"}, name) }
	tests := []struct{ info, want string }{
		{"license=GPL\x00depends=\x00name=veth\x00", ""},
		{"depends=inet_diag,nf-defrag\x00", "inet_diag,nf-defrag"},
		{"softdep=pre: crc32c\x00depends=\x00", "crc32c_generic"},
		{"softdep=pre: aead2 platform-only post: later\x00depends=x\x00", "aead2,x"},
		{"softdep=post: later\x00", ""},
	}
	for _, tt := range tests {
		got := strings.Join(dependencies(strings.Split(tt.info, "\x00"), exists), ",")
		if got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.info, got, tt.want)
		}
	}
}

func TestModuleIndex(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"modules.builtin":               "kernel/net/ipv6/ipv6.ko\nkernel/crypto/crc32c-generic.ko\n",
		"kernel/drivers/net/veth.ko.xz": "",
		"kernel/net/nf-defrag.ko":       "",
	} {
		if err := writeFile(filepath.Join(dir, name), strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	files, builtin, err := moduleIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files["veth"] != filepath.Join(dir, "kernel/drivers/net/veth.ko.xz") || files["nf_defrag"] == "" {
		t.Errorf("files: got %v", files)
	}
	if len(builtin) != 2 || !builtin["ipv6"] || !builtin["crc32c_generic"] {
		t.Errorf("builtin: got %v", builtin)
	}
	if _, _, err := moduleIndex(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty directory: got %v, want %v", err, os.ErrNotExist)
	}
}
