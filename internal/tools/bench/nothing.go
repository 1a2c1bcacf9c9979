package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// attachNothing attaches a program that does nothing to each of the tracepoints, as
// twtrace attaches its own: what being attached costs by itself. Closing detaches
// them.
func attachNothing(tracepoints ...string) (io.Closer, error) {
	var all closers
	cache := btf.NewCache()
	for _, name := range tracepoints {
		coll, err := ebpf.NewCollectionWithOptions(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{name: {
			Name: "nothing", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: name, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		}}}, ebpf.CollectionOptions{Cache: cache})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("load a program for %s: %w", name, err), all.Close())
		}
		all = append(all, coll.Programs[name])
		l, err := link.AttachTracing(link.TracingOptions{Program: coll.Programs[name], AttachType: ebpf.AttachTraceRawTp})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("attach to %s: %w", name, err), all.Close())
		}
		all = append(all, l)
	}
	return all, nil
}

type closers []io.Closer

func (all closers) Close() error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
