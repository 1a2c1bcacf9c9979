package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

func main() {
	workload.Main()
	if os.Getenv("CHURN") != "" {
		ns, err := workload.NewNetNS()
		if err != nil {
			panic(err)
		}
		fmt.Println("ns", ns.Inum())
		ns.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte("1000000"), 0)
		})
		n, _ := strconv.Atoi(os.Getenv("CHURN"))
		c := workload.Churn{Connections: n / 2, Processes: 2, Workers: 4, ServerWorkers: 4, To: workload.Destinations(20, 4), CountOnly: true}
		go func() {
			t0 := time.Now()
			r, err := c.Scenario().Run(context.Background(), ns.Path())
			fmt.Println("churn", time.Since(t0), r.Opened(), r.Failed(), err)
			time.Sleep(time.Second)
			syscall.Kill(os.Getpid(), syscall.SIGINT)
			time.Sleep(time.Second)
		}()
		defer func() {
			ns.Do(func() error {
				b, _ := os.ReadFile("/proc/thread-self/net/sockstat")
				fmt.Printf("%s", b)
				return nil
			})
		}()
	}
	t0 := time.Now()
	tr, err := tracer.Open(tracer.Options{AllStates: os.Getenv("ALL") != "", Hooks: tracer.HookSet(os.Getenv("HOOKS"))})
	if err != nil {
		fmt.Printf("%v\n", err)
		os.Exit(3)
	}
	fmt.Println("attached in", time.Since(t0))
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	go func() { <-c; tr.Stop() }()
	var e event.Event
	n := 0
	for {
		err := tr.Read(&e)
		if errors.Is(err, tracer.ErrIdle) {
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(err)
		}
		n++
		if os.Getenv("Q") == "" {
			fmt.Printf("%d %v %x ns=%d %v->%v %v %v>%v closer=%v %v opener=%v close=%v life=%v in=%v stamps=%v rearms=%d errno=%d\n", e.Time, e.Kind, e.Cookie, e.NetNS, e.Local, e.Remote, e.Role, e.Old, e.New, e.Closer, e.Reason, e.Opener, e.CloseProc, time.Duration(e.Life), time.Duration(e.InState), e.Stamps, e.Rearms, e.Errno)
		}
	}
	tr.Close()
	a, _ := tr.Account()
	d, _ := tr.Drift()
	fmt.Printf("n=%d total=%+v lost=%v late=%d caught=%d drift=%+v\n", n, a.Total, a.Lost, a.Late, a.Caught, d)
	for _, s := range a.BPF {
		fmt.Printf("%+v\n", s)
	}
}
