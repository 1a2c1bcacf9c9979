package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
)

// defaultListen is where an agent answers over TCP, unless --listen says otherwise.
const defaultListen = "127.0.0.1:10464"

// webWishes are where an agent is to answer over TCP, and how.
type webWishes struct {
	agent.WebConfig
	at    string // "" for nowhere
	asked bool   // for this address, and not just by default
}

// parseWeb parses --listen and --web-config.
func parseWeb(c *cli.Context) (w webWishes, err error) {
	w.at = c.String("listen")
	w.asked = w.at != defaultListen || c.IsSet("listen")
	config := c.Path("web-config")
	if w.at == "off" {
		if w.at = ""; config != "" {
			return w, usagef("--web-config conflicts with --listen off")
		}
		return w, nil
	}
	if config != "" {
		read, err := agent.ReadWebConfig(config)
		if err != nil {
			return w, fmt.Errorf("--web-config: %w", err)
		}
		w.WebConfig, w.asked = *read, true
	}
	host, _, err := net.SplitHostPort(w.at)
	if err != nil {
		return w, usagef("--listen: bad address %q: use one such as %s, or off", w.at, defaultListen)
	}
	if ip, err := netip.ParseAddr(host); !w.TLS && (err != nil || !ip.IsLoopback()) {
		return w, usagef("--listen: %q is not an address of the loopback: others reach the agent only with TLS, by tls_server_config in the file of --web-config", w.at)
	}
	return w, nil
}

// listenWeb makes the TCP listener, if there is to be one and its port is free. A port that
// was asked for has to be.
func (l *listening) listenWeb(c *cli.Context, w *webWishes) error {
	if w.at == "" {
		return nil
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // the speaker may not make such sockets
	web, err := lc.Listen(c.Context, "tcp", w.at)
	if errors.Is(err, unix.EADDRINUSE) && !w.asked {
		note(c, "%s is taken: this agent answers at its socket only; --listen takes another address", w.at)
		return nil
	}
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer web.Close() // the speaker has its own
	scheme := "http"
	if w.TLS {
		scheme = "https"
	}
	l.at = append(l.at, scheme+"://"+web.Addr().String())
	return l.pass(web)
}
