package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKernelPackages(t *testing.T) {
	tests := []struct {
		name  string
		suite string // control fields
		want  string
	}{
		{"one package", `
Package: linux-image-amd64
Depends: linux-image-6.1.0-50-amd64 (= 6.1.176-1)

Package: linux-image-6.1.0-50-amd64
Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool
`, "linux-image-6.1.0-50-amd64"},
		{"split", `
Package: linux-image-amd64
Depends: linux-image-7.2-amd64 (= 7.2-1)

Package: linux-image-7.2-amd64
Depends: dracut | linux-initramfs-tool, linux-base-7.2-amd64 (= 7.2-1), linux-binary-7.2-amd64 (= 7.2-1), linux-modules-7.2-amd64 (= 7.2-1)

Package: linux-base-7.2-amd64
Depends: linux-base

Package: linux-binary-7.2-amd64
Depends: linux-base-7.2-amd64 (= 7.2-1)

Package: linux-modules-7.2-amd64
Depends: kmod, linux-base-7.2-amd64 (= 7.2-1)
`, "linux-image-7.2-amd64 linux-base-7.2-amd64 linux-binary-7.2-amd64 linux-modules-7.2-amd64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			suite := map[string]stanza{}
			for s := range strings.SplitSeq(strings.TrimSpace(tt.suite), "\n\n") {
				p := parseStanza(s)
				suite[p["Package"]] = p
			}
			pkgs, err := kernelPackages(metaPackage, func(name string) (stanza, error) {
				if suite[name] == nil {
					return nil, fmt.Errorf("no package %s", name)
				}
				return suite[name], nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range pkgs {
				names = append(names, p["Package"])
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestUnpackTar(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{
		"./usr/lib/modules/7.2-amd64/vmlinuz",
		"./usr/lib/modules/7.2-amd64/modules.builtin",
		"./usr/lib/modules/7.2-amd64/modules.order",
		"./usr/lib/modules/7.2-amd64/kernel/net/ipv4/tcp_diag.ko.xz",
		"./lib/modules/7.2-amd64/kernel/drivers/net/veth.ko",
		"./lib/modules/7.2-amd64/kernel/drivers/net/ethernet/e100.ko",
		"./lib/modules/7.2-amd64/kernel/fs/btrfs.ko",
		"./usr/share/doc/vmlinuz-1",
		"../../etc/passwd",
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(name))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	release, err := unpackTar(&b, dir)
	if err != nil || release != "7.2-amd64" {
		t.Fatalf("got %q, %v, want the release 7.2-amd64", release, err)
	}
	var got []string
	err = filepath.Walk(dir, func(file string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			rel, _ := filepath.Rel(dir, file)
			got = append(got, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "modules/kernel/drivers/net/veth.ko modules/kernel/net/ipv4/tcp_diag.ko.xz modules/modules.builtin vmlinuz"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
}

func TestUnpackPathOfOldImages(t *testing.T) {
	to, release := unpackPath("/boot/vmlinuz-5.10.0-32-amd64")
	if to != "vmlinuz" || release != "5.10.0-32-amd64" {
		t.Errorf("got %q, %q", to, release)
	}
}
