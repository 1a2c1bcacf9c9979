package sandbox_test

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/sandbox"
)

// An agent: main calls speak if it is requested, and else the tracer's part.
func Example() {
	const command = "serve-speaker"
	if sandbox.Requested(command) {
		speak()
		return
	}
	trace(command)
}

// trace is the tracer: hooks are attached, and sockets are bound, before it drops.
func trace(command string) {
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:9464")
	if err != nil {
		log.Fatal(err)
	}
	listener, err := l.(*net.TCPListener).File()
	if err != nil {
		log.Fatal(err)
	}
	l.Close() // the copy is what speakers inherit
	user, err := sandbox.LookupUser("")
	if err != nil {
		log.Fatal(err)
	}
	if err := sandbox.Drop(kernel.TraceCaps() | sandbox.LaunchCaps); err != nil {
		log.Fatal(err)
	}
	twin, err := sandbox.Start(sandbox.Options{
		Command: command,
		User:    user,
		Files:   []*os.File{listener},
		Read:    []string{"/etc/twtrace"},
		Write:   []string{"/var/lib/twtrace/parts"},
		Dial:    []uint16{4317},
		Resolve: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("the speaker is process %d; missing: %q", twin.Report.PID, twin.Report.Missing)
	defer twin.Conn.Close() // a stream to its Speaker.Conn
	log.Fatal(twin.Err())
}

// speak is the speaker.
func speak() {
	ctx, s, err := sandbox.Enter(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.FileListener(s.Files[0])
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	log.Print(server.Serve(l))
}
