package agent

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
)

// WebConfig is a web configuration file, in the form that Prometheus exporters share: TLS,
// client certificates, passwords.
type WebConfig struct {
	Path string // absolute
	TLS  bool
	// Dirs are where it, the certificates and the key are. They are read again for each
	// connection, and whoever renews them replaces the files.
	Dirs []string
}

// ReadWebConfig reads and checks the file, and what it names.
func ReadWebConfig(path string) (*WebConfig, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := web.Validate(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c web.Config
	if err := yaml.Unmarshal(content, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t := &c.TLSConfig
	t.SetDirectory(filepath.Dir(path))
	w := &WebConfig{Path: path, TLS: t.IsEnabled()}
	for _, file := range []string{path, t.TLSCertPath, t.TLSKeyPath, t.ClientCAs} {
		if file == "" {
			continue
		}
		to, err := filepath.EvalSymlinks(file)
		if err != nil {
			return nil, err
		}
		for _, dir := range []string{filepath.Dir(file), filepath.Dir(to)} {
			if !slices.Contains(w.Dirs, dir) {
				w.Dirs = append(w.Dirs, dir)
			}
		}
	}
	return w, nil
}

// serveWeb answers those who connect over TCP. The error is that of the configuration.
func (a *agent) serveWeb(ln net.Listener) (*http.Server, error) {
	if err := web.Validate(a.opt.WebConfig); err != nil {
		return nil, fmt.Errorf("use %s as uid %d: %w", a.opt.WebConfig, os.Getuid(), err)
	}
	server := a.server(a.streamToKnown)
	flags := &web.FlagConfig{WebConfigFile: &a.opt.WebConfig}
	go web.Serve(a.bounded(ln), server, flags, slog.New(slog.DiscardHandler))
	return server, nil
}

// streamToKnown answers /v1/stream if the client has shown who it is: records leave the host
// for nobody else.
func (a *agent) streamToKnown(w http.ResponseWriter, q *http.Request) {
	if q.TLS == nil || len(q.TLS.VerifiedChains) == 0 {
		http.Error(w, "records need a client certificate: set client_ca_file and client_auth_type in the file of --web-config, or read the unix socket",
			http.StatusForbidden)
		return
	}
	a.stream(w, q)
}
