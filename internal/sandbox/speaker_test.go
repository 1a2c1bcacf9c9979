package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// order is what a test has its speaker do, and result what came of it.
type (
	order struct {
		Do   string
		Path string
		Args [6]uintptr // of a bare call, whose number is N
		N    uintptr
	}
	result struct {
		Errno  unix.Errno
		Err    string
		Out    string
		Report *Report `json:",omitempty"`
	}
)

// speak is the speaker of the tests: it does what it is asked to on its connection.
func speak() int {
	ctx, s, err := Enter(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		<-ctx.Done()
		if errors.Is(context.Cause(ctx), ErrStopped) {
			os.Exit(0)
		}
	}()
	in, out := json.NewDecoder(s.Conn), json.NewEncoder(s.Conn)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
			for { // how it ends is the business of Enter
				time.Sleep(time.Hour)
			}
		}
		var r result
		r.Out, err = s.do(o)
		if o.Do == "report" {
			r.Report = &s.Report
		}
		if err != nil {
			r.Err = err.Error()
			errors.As(err, &r.Errno)
		}
		if err := out.Encode(r); err != nil {
			return 1
		}
	}
}

func (s *Speaker) do(o order) (string, error) {
	switch o.Do {
	case "report":
		return "", nil
	case "order":
		return string(<-s.Orders), nil
	case "read":
		text, err := os.ReadFile(o.Path)
		return string(text), err
	case "write":
		return "", os.WriteFile(o.Path, []byte("written"), 0o644)
	case "rotate":
		return "", rotate(o.Path)
	case "call":
		r, _, errno := unix.Syscall6(o.N, o.Args[0], o.Args[1], o.Args[2], o.Args[3], o.Args[4], o.Args[5])
		if errno != 0 {
			return "", errno
		}
		return fmt.Sprint(r), nil
	case "execve":
		return "", syscall.Exec(o.Path, []string{o.Path}, nil)
	case "start":
		_, err := syscall.ForkExec(o.Path, []string{o.Path}, nil)
		return "", err
	case "lookup":
		r := net.Resolver{PreferGo: true}
		if o.N != 0 { // else the servers of resolv.conf
			r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, testNameServer)
			}
		}
		addrs, err := r.LookupHost(context.Background(), o.Path)
		return fmt.Sprint(addrs), err
	case "dial":
		c, err := net.Dial("tcp", o.Path)
		if err != nil {
			return "", err
		}
		defer c.Close()
		text, err := io.ReadAll(c)
		return string(text), err
	case "serve":
		return "", s.serve(http.Serve)
	case "serve TLS":
		return "", s.serve(func(l net.Listener, h http.Handler) error {
			return http.ServeTLS(l, h, o.Path+"/cert.pem", o.Path+"/key.pem")
		})
	case "work":
		return work(int(o.N))
	case "panic":
		panic("as asked")
	}
	return "", fmt.Errorf("unknown order %q", o.Do)
}

// serve serves HTTP on all inherited listeners.
func (s *Speaker) serve(with func(net.Listener, http.Handler) error) error {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from uid %d over %s", os.Getuid(), r.Context().Value(http.LocalAddrContextKey).(net.Addr).Network())
	})
	for _, f := range s.Files {
		l, err := net.FileListener(f)
		if err != nil {
			return err
		}
		go func() {
			if err := with(l, h); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
	return nil
}

// rotate writes, renames, reads, lists and removes files in a directory.
func rotate(dir string) error {
	if err := os.Mkdir(dir+"/parts", 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir+"/parts", "part")
	if err != nil {
		return err
	}
	_, err = f.WriteString("a part")
	if err := errors.Join(err, f.Sync(), f.Truncate(3), f.Chmod(0o640), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), dir+"/parts/1"); err != nil {
		return err
	}
	text, err := os.ReadFile(dir + "/parts/1")
	if err != nil || string(text) != "a p" {
		return fmt.Errorf("read %q, %v", text, err)
	}
	entries, err := os.ReadDir(dir + "/parts")
	if err != nil || len(entries) != 1 {
		return fmt.Errorf("list: %v, %v", entries, err)
	}
	var st unix.Statfs_t
	return errors.Join(unix.Statfs(dir, &st), os.RemoveAll(dir+"/parts"))
}

// work has n threads at once, timers, garbage to collect, and a profile of that.
func work(n int) (string, error) {
	var all, here sync.WaitGroup
	all.Add(n)
	here.Add(n)
	for range n {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			here.Done()
			here.Wait() // until all have a thread
			junk := make([][]byte, 0, 100)
			for i := range 100 {
				junk = append(junk, make([]byte, 10<<10+i))
			}
			time.Sleep(time.Millisecond)
			<-time.After(time.Millisecond)
			runtime.KeepAlive(junk)
			all.Done()
		}()
	}
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		return "", err
	}
	all.Wait()
	runtime.GC()
	pprof.StopCPUProfile()
	if profile.Len() == 0 {
		return "", errors.New("the profile is empty")
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.NumGC == 0 {
		return "", errors.New("nothing was collected")
	}
	return fmt.Sprint(n), nil
}
