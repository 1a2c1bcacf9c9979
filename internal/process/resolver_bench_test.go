package process

import (
	"os"
	"testing"
)

func BenchmarkLookup(b *testing.B) {
	r := NewResolver(Options{})
	defer r.Stop()
	k := Key{PID: uint32(os.Getpid()), Comm: "process.test", Cgroup: 1}
	info, err := r.Resolve(Key{PID: k.PID})
	if err != nil {
		b.Fatal(err)
	}
	k.Start = info.Start
	if _, err := r.Resolve(k); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.lookUp(k); !ok {
			b.Fatal("not known")
		}
	}
}

func BenchmarkLookupMiss(b *testing.B) {
	r := newResolver(0)
	r.budget = budget{}
	var n uint32
	b.ReportAllocs()
	for b.Loop() {
		n++
		if _, ok := r.lookUp(Key{PID: n, Start: 1}); ok {
			b.Fatal("known")
		}
	}
}

func BenchmarkRead(b *testing.B) {
	r := newResolver(0)
	k := Key{PID: uint32(os.Getpid())}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.read(k); err != nil {
			b.Fatal(err)
		}
	}
}
