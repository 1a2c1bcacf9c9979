package main

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// defaultModules are loaded into every guest: sock_diag for TCP, what tests
// build networks of, and the connection tracking that hosts with containers have.
var defaultModules = []string{"tcp_diag", "veth", "tun", "dummy", "nf_conntrack", "sch_netem"}

// module is a kernel module, decompressed.
type module struct {
	name string
	data []byte
}

// loadModules returns the modules and all they depend on, in an order in which
// they can be loaded. What is built into the kernel is left out.
func loadModules(ctx context.Context, k *kernel, want []string) ([]module, error) {
	files, builtin, err := moduleIndex(k.modules())
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	order, err := loadOrder(want, func(name string) ([]string, error) {
		if builtin[name] {
			return nil, nil
		}
		file := files[name]
		if file == "" {
			return nil, fmt.Errorf("no module %s in %s %s", name, k.Package, k.Version)
		}
		b, err := readModule(ctx, file)
		if err != nil {
			return nil, fmt.Errorf("read module %s: %w", name, err)
		}
		data[name] = b
		info, err := moduleInfo(b)
		if err != nil {
			return nil, fmt.Errorf("read module %s: %w", name, err)
		}
		return dependencies(info, func(name string) bool { return files[name] != "" }), nil
	})
	if err != nil {
		return nil, err
	}
	var mods []module
	for _, name := range order {
		if b := data[name]; b != nil {
			mods = append(mods, module{name, b})
		}
	}
	return mods, nil
}

// loadOrder sorts modules so that each comes after those it depends on.
func loadOrder(want []string, depends func(name string) ([]string, error)) ([]string, error) {
	var order, path []string
	done := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		switch {
		case done[name]:
			return nil
		case slices.Contains(path, name):
			return fmt.Errorf("module %s depends on itself, by %s", name, strings.Join(path, ", "))
		}
		path = append(path, name)
		deps, err := depends(name)
		if err != nil {
			return err
		}
		for _, d := range deps {
			if err := visit(d); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		order = append(order, name)
		return nil
	}
	for _, name := range want {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleIndex finds the files of the modules below dir, and the names of those
// built into the kernel. Debian's packages have no modules.dep: installing one
// makes it.
func moduleIndex(dir string) (files map[string]string, builtin map[string]bool, err error) {
	files, builtin = map[string]string{}, map[string]bool{}
	b, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, nil, err
	}
	for _, line := range strings.Fields(string(b)) {
		builtin[moduleName(filepath.Base(line))] = true
	}
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".ko") {
			files[moduleName(d.Name())] = file
		}
		return err
	})
	return files, builtin, err
}

// moduleName is the name of the module in a file, as the kernel spells it.
func moduleName(file string) string {
	name, _, _ := strings.Cut(file, ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func readModule(ctx context.Context, file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	program := compression(b)
	if program == "" {
		return b, nil
	}
	var out bytes.Buffer
	err = decompress(ctx, &out, program, b)
	return out.Bytes(), err
}

// moduleInfo returns the fields of a module's .modinfo section: "key=value".
func moduleInfo(ko []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("not a kernel module: it has no .modinfo")
	}
	b, err := s.Data()
	return strings.Split(string(b), "\x00"), err
}

// dependencies returns the modules that must be loaded before the one described
// by info. Soft ones are wishes: those that do not exist are left out. For
// algorithms they are aliases, which the generic implementation has, too.
func dependencies(info []string, exists func(name string) bool) []string {
	var names []string
	for _, field := range info {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			names = append(names, strings.Split(list, ",")...)
		}
		list, ok := strings.CutPrefix(field, "softdep=pre: ")
		if !ok {
			continue
		}
		list, _, _ = strings.Cut(list, "post: ")
		for _, name := range strings.Fields(list) {
			name = moduleName(name)
			for _, name := range []string{name, name + "_generic"} {
				if exists(name) {
					names = append(names, name)
					break
				}
			}
		}
	}
	return names
}
