package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"strings"
	"testing"
)

// bzImage makes an image whose payload is data, between other things.
func bzImage(data []byte) []byte {
	const sects, offset = 3, 0x123
	b := make([]byte, (sects+1)*512+offset)
	copy(b[offHeaderMagic:], "HdrS")
	b[offSetupSects] = sects
	binary.LittleEndian.PutUint16(b[offVersion:], 0x20f)
	binary.LittleEndian.PutUint32(b[offPayloadOffset:], offset)
	binary.LittleEndian.PutUint32(b[offPayloadLength:], uint32(len(data)))
	b = append(b, data...)
	return append(b, "a signature"...)
}

func gzipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExtractVmlinux(t *testing.T) {
	want := strings.Repeat("\x7fELF and so on ", 1000)
	var got bytes.Buffer
	if err := extractVmlinux(t.Context(), &got, bzImage(gzipped(t, want))); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got %d bytes, want %d, the same", got.Len(), len(want))
	}
}

func TestPayload(t *testing.T) {
	const size = "\x00\x10\x00\x00"
	for magic, program := range map[string]string{
		"\xfd7zXZ\x00":     "xz",
		"\x28\xb5\x2f\xfd": "zstd",
		"\x02\x21\x4c\x18": "lz4",
	} {
		data, got, err := payload(bzImage([]byte(magic + "data" + size)))
		if err != nil || got != program || string(data) != magic+"data" {
			t.Errorf("got %q for %s, %v, want %q for %s", data, got, err, magic+"data", program)
		}
	}
}

func TestPayloadErrors(t *testing.T) {
	whole := bzImage([]byte("\xfd7zXZ\x00data"))
	old := bytes.Clone(whole)
	binary.LittleEndian.PutUint16(old[offVersion:], 0x207)
	for name, b := range map[string][]byte{
		"empty":            nil,
		"not a kernel":     make([]byte, 4096),
		"old protocol":     old,
		"cut short":        whole[:len(whole)-len("a signature")-1],
		"not compressed":   bzImage([]byte("\x7fELF")),
		"header only":      whole[:headerEnd],
		"nothing in it":    bzImage(nil),
		"header cut short": whole[:headerEnd-1],
	} {
		if data, program, err := payload(b); err == nil {
			t.Errorf("%s: got %d bytes for %s, want an error", name, len(data), program)
		}
	}
}
