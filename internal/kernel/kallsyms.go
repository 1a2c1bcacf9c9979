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

// Errors of Symbols.
var (
	ErrNoSymbol = errors.New("no such kernel symbol")
	ErrHidden   = errors.New("kernel addresses are hidden: needs CAP_SYSLOG, and sysctl kernel.kptr_restrict at 0 or 1")
)

// Symbols returns the addresses of kernel functions: of one that must exist, and of
// others, 0 for those that do not. It reads /proc/kallsyms, which costs 40 ms or more
// for any number of functions. Compilers give local copies of a function another name,
// name.llvm.N under LTO, name.cfi or name.cfi_jt under older CFI; these count if name
// itself does not exist. The error is ErrNoSymbol or ErrHidden if that is the reason.
func Symbols(needed string, others ...string) ([]uint64, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, fmt.Errorf("find kernel symbols: %w", err)
	}
	defer f.Close()
	addrs, err := parseSymbols(f, append([]string{needed}, others...))
	if err == nil && addrs[0] == 0 {
		err = ErrNoSymbol
	}
	if err != nil {
		return nil, fmt.Errorf("find kernel symbol %s: %w", needed, err)
	}
	return addrs, nil
}

// wanted is a symbol to find.
type wanted struct {
	exact, llvm, cfi []byte
	found, same      bool // found by some name, and by its own
}

// matches reports whether symbol is a better match than the one found before.
func (w *wanted) matches(symbol []byte) bool {
	if bytes.Equal(symbol, w.exact) {
		w.same = true
		return true
	}
	return !w.found && (bytes.HasPrefix(symbol, w.llvm) || bytes.HasPrefix(symbol, w.cfi))
}

// parseSymbols finds names among lines of "address type name [module]".
func parseSymbols(r io.Reader, names []string) ([]uint64, error) {
	all := make([]wanted, len(names))
	for i, name := range names {
		all[i] = wanted{exact: []byte(name), llvm: []byte(name + ".llvm."), cfi: []byte(name + ".cfi")}
	}
	addrs := make([]uint64, len(names))
	lines := bufio.NewReaderSize(r, 64<<10)
	for left := len(names); left > 0; {
		line, err := lines.ReadSlice('\n')
		if hex, rest, ok := bytes.Cut(line, []byte(" ")); ok && len(rest) > 2 {
			symbol, _, _ := bytes.Cut(bytes.TrimRight(rest[2:], "\n"), []byte("\t")) // a module follows a tab
			for i := range all {
				if all[i].same || !all[i].matches(symbol) {
					continue
				}
				a, err := strconv.ParseUint(string(hex), 16, 64)
				if err != nil {
					return nil, fmt.Errorf("parse kallsyms: %w", err)
				}
				if addrs[i], all[i].found = a, true; all[i].same {
					left--
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	for i := range all {
		if all[i].found && addrs[i] == 0 {
			return nil, ErrHidden
		}
	}
	return addrs, nil
}
