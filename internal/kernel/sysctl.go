package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// sysctlReader returns the value of a sysctl, which may end in a newline.
type sysctlReader func(name string) (string, error)

// sysctls calls parse with a reader of the sysctls below /proc/sys/net/ and base. Any
// path there shows the namespace of the reading task, so this joins n (see Do).
func (n NetNS) sysctls(base string, parse func(sysctlReader) error) error {
	err := n.Do(func() error {
		return parse(func(name string) (string, error) {
			b, err := os.ReadFile("/proc/sys/net/" + base + name)
			return string(b), err
		})
	})
	if err != nil {
		return fmt.Errorf("read sysctls of network namespace %s: %w", n, err)
	}
	return nil
}

// sysctl is a number to read. If it is optional and this kernel does not have it, to
// keeps its value.
type sysctl struct {
	name     string
	to       *int
	optional bool
}

// ints reads numbers.
func (read sysctlReader) ints(list ...sysctl) error {
	for _, s := range list {
		text, err := read(s.name)
		if s.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if *s.to, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
			return fmt.Errorf("parse %s: %w", s.name, err)
		}
	}
	return nil
}
