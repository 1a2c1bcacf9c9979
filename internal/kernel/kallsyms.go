package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Errors of Symbol.
var (
	ErrNoSymbol = errors.New("no such kernel symbol")
	ErrHidden   = errors.New("kernel addresses are hidden (needs CAP_SYSLOG and kernel.kptr_restrict of 0 or 1)")
)

// Symbol returns the address of a kernel function from /proc/kallsyms. Compilers
// give local copies of a function another name: name.llvm.N under LTO, name.cfi
// or name.cfi_jt under older CFI. They are accepted when name itself is absent.
// The error is ErrNoSymbol or ErrHidden when that is the reason.
func Symbol(name string) (uint64, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return 0, fmt.Errorf("look up kernel symbol %s: %w", name, err)
	}
	defer f.Close()
	addr, err := parseSymbol(f, name)
	if err != nil {
		return 0, fmt.Errorf("look up kernel symbol %s: %w", name, err)
	}
	return addr, nil
}

// parseSymbol finds name among lines of "address type name [module]".
func parseSymbol(r io.Reader, name string) (uint64, error) {
	exact := []byte(name)
	llvm, cfi := []byte(name+".llvm."), []byte(name+".cfi")
	var addr uint64
	found := false

	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if hex, rest, ok := bytes.Cut(line, []byte(" ")); ok && len(rest) > 2 {
			symbol, _, _ := bytes.Cut(bytes.TrimRight(rest[2:], "\n"), []byte("\t")) // a module follows a tab
			same := bytes.Equal(symbol, exact)
			if same || !found && (bytes.HasPrefix(symbol, llvm) || bytes.HasPrefix(symbol, cfi)) {
				a, err := strconv.ParseUint(string(hex), 16, 64)
				if err != nil {
					return 0, fmt.Errorf("parse kallsyms: %w", err)
				}
				addr, found = a, true
			}
			if same {
				break
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	switch {
	case !found:
		return 0, ErrNoSymbol
	case addr == 0:
		return 0, ErrHidden
	}
	return addr, nil
}
