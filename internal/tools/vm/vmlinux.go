package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Offsets in the x86 boot protocol's header; see
// Documentation/arch/x86/boot.rst in the kernel's sources.
const (
	offSetupSects    = 0x1f1
	offHeaderMagic   = 0x202
	offVersion       = 0x206
	offPayloadOffset = 0x248
	offPayloadLength = 0x24c
	headerEnd        = 0x250
)

// payload returns the compressed vmlinux in an x86 bzImage, and the program
// that decompresses it.
func payload(bzImage []byte) (data []byte, decompressor string, err error) {
	if len(bzImage) < headerEnd || string(bzImage[offHeaderMagic:][:4]) != "HdrS" {
		return nil, "", fmt.Errorf("not an x86 bzImage")
	}
	le := binary.LittleEndian
	if v := le.Uint16(bzImage[offVersion:]); v < 0x208 {
		return nil, "", fmt.Errorf("boot protocol %d.%02d does not say where the kernel is", v>>8, v&0xff)
	}
	sects := int64(bzImage[offSetupSects])
	if sects == 0 {
		sects = 4 // "for backwards compatibility"
	}
	begin := (sects+1)*512 + int64(le.Uint32(bzImage[offPayloadOffset:]))
	end := begin + int64(le.Uint32(bzImage[offPayloadLength:]))
	if end > int64(len(bzImage)) {
		return nil, "", fmt.Errorf("bzImage is cut short: the kernel ends at %d of %d bytes", end, len(bzImage))
	}
	data = bzImage[begin:end]
	decompressor = compression(data)
	switch decompressor {
	case "":
		return nil, "", fmt.Errorf("unknown compression: it begins with % x", data[:min(8, len(data))])
	case "gzip": // has its own trailer with the size
	default:
		// The build appends the size of the vmlinux, in 4 bytes.
		data = data[:len(data)-4]
	}
	return data, decompressor, nil
}

// compression finds by the first bytes which program decompresses data, or
// "" if none is known.
func compression(data []byte) string {
	for _, c := range []struct{ magic, tool string }{
		{"\xfd7zXZ\x00", "xz"},
		{"\x28\xb5\x2f\xfd", "zstd"},
		{"\x1f\x8b\x08", "gzip"},
		{"\x02\x21\x4c\x18", "lz4"},
	} {
		if bytes.HasPrefix(data, []byte(c.magic)) {
			return c.tool
		}
	}
	return ""
}

// decompress writes the decompressed data to w.
func decompress(ctx context.Context, w io.Writer, program string, data []byte) error {
	cmd, err := tool(ctx, program, "-dc")
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), w, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w: %s", program, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// extractVmlinux writes the ELF file in an x86 bzImage to w.
func extractVmlinux(ctx context.Context, w io.Writer, bzImage []byte) error {
	data, program, err := payload(bzImage)
	if err != nil {
		return err
	}
	return decompress(ctx, w, program, data)
}

func extractVmlinuxFile(ctx context.Context, vmlinuz, vmlinux string) error {
	bzImage, err := os.ReadFile(vmlinuz)
	if err != nil {
		return err
	}
	return replaceFile(vmlinux, func(w io.Writer) error {
		if err := extractVmlinux(ctx, w, bzImage); err != nil {
			return fmt.Errorf("extract vmlinux from %s: %w", vmlinuz, err)
		}
		return nil
	})
}

// writeHeader writes the kernel's types as C, headed by where they come from.
func writeHeader(ctx context.Context, k *kernel, name string) error {
	cmd, err := tool(ctx, "bpftool", "btf", "dump", "file", k.vmlinux(), "format", "c")
	if err != nil {
		return err
	}
	types, err := output(cmd)
	if err != nil {
		return err
	}
	return replaceFile(name, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "/* The types of Debian's %s %s (%s), as bpftool prints them; made by make vmlinux.h. */\n%s",
			k.Package, k.Version, k.Suite, types)
		return err
	})
}

// replaceFile writes a file that is there whole or not at all.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
