package tracer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadBTF: a file that has no types is named, with what to do instead.
func TestBadBTF(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"text": "no types here\n", "empty": "", "magic": "\x9f\xeb\x01"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"missing", "text", "empty", "magic", "."} {
		path := filepath.Join(dir, name)
		_, err := (&Options{BTF: path}).types()
		var host *HostError
		if !errors.As(err, &host) {
			t.Errorf("%s: %v is no HostError", name, err)
			continue
		}
		for _, want := range []string{"BTF", path, "leave it out"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no %q in %q", name, want, err)
			}
		}
		if r := needTypes.with(err); r.Err == nil || r.Name != "type information (BTF)" {
			t.Errorf("%s: check says %+v", name, r)
		}
	}
}
