package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// issuer makes certificates of 127.0.0.1.
type issuer struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	c := i.issue(t, true)
	cert, err := x509.ParseCertificate(c.Certificate[0])
	must(t, err)
	i.cert, i.key = cert, c.PrivateKey.(*ecdsa.PrivateKey)
	return i
}

func (i *issuer) issue(t *testing.T, ca bool) tls.Certificate {
	t.Helper()
	i.serial++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	form := &x509.Certificate{SerialNumber: big.NewInt(i.serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: ca, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	parent, by := form, key
	if i.cert != nil {
		parent, by = i.cert, i.key
	}
	cert, err := x509.CreateCertificate(rand.Reader, form, parent, key.Public(), by)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
}

// writeCertificate replaces the files of a certificate and its key, which only user 65534 may read.
func writeCertificate(t *testing.T, dir string, c tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	must(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o400))
		must(t, os.Chown(path+".new", 65534, 65534))
		must(t, os.Rename(path+".new", path))
	}
}

// TestAgentTLS: with a web configuration an agent answers at any address over TLS, to who has
// the password, and gives records to who has a certificate, too. It takes new certificates.
func TestAgentTLS(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := kerneltest.NetNS(t)
	dir, err := os.MkdirTemp("", "twtrace-web")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	ca := newIssuer(t)
	writeCertificate(t, dir, ca.issue(t, false))
	must(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o644))
	config := filepath.Join(dir, "web.yml")
	const password = "fakepassword"
	const users = "basic_auth_users:\n  prometheus: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n"
	must(t, os.WriteFile(config, []byte(users+"tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"+
		"  client_ca_file: ca.pem\n  client_auth_type: VerifyClientCertIfGiven\n"), 0o644))
	a, at := serveAgentIn(t, ns, "--listen", "0.0.0.0:0", "--web-config", config, "--user", "65534:65534")
	dial := dialerIn(t, ns)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	ask := func(path, password string, certs ...tls.Certificate) (*http.Response, string, error) {
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certs},
			DialContext: func(_ context.Context, network, at string) (net.Conn, error) { return dial(network, at) }}
		q, err := http.NewRequest("GET", "https://"+at+path, nil)
		must(t, err)
		if password != "" {
			q.SetBasicAuth("prometheus", password)
		}
		client := http.Client{Transport: transport, Timeout: patience}
		answer, err := client.Do(q)
		if err != nil {
			return nil, "", err
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		return answer, string(b), err
	}
	mine := ca.issue(t, false)
	for _, tt := range []struct {
		path, password string
		certs          []tls.Certificate
		code           int
		says           string
	}{
		{"/metrics", "", nil, http.StatusUnauthorized, ""},
		{"/metrics", "wrong", nil, http.StatusUnauthorized, ""},
		{"/metrics", "", []tls.Certificate{mine}, http.StatusUnauthorized, ""},
		{"/metrics", password, nil, http.StatusOK, "twtrace_"},
		{"/v1/stream?past=1h&live=0", password, nil, http.StatusForbidden, "client certificate"},
		{"/v1/stream?past=1h&live=0", "", []tls.Certificate{mine}, http.StatusUnauthorized, ""},
		{"/v1/stream?past=1h&live=0", password, []tls.Certificate{mine}, http.StatusOK, ""},
	} {
		answer, body, err := ask(tt.path, tt.password, tt.certs...)
		if err != nil || answer.StatusCode != tt.code || !strings.Contains(body, tt.says) {
			t.Errorf("%s with password %q and %d certificates: %v, %v", tt.path, tt.password, len(tt.certs), answer, err)
		}
	}
	if answer, _, err := ask("/metrics", password, newIssuer(t).issue(t, false)); err == nil {
		t.Errorf("with a certificate of somebody else: %s", answer.Status)
	}
	renewed := ca.issue(t, false)
	writeCertificate(t, dir, renewed)
	answer, _, err := ask("/readyz", password)
	if err != nil || answer.TLS.PeerCertificates[0].SerialNumber.Int64() != ca.serial {
		t.Errorf("with a new certificate: %v", err)
	}
	// Who has no password cannot hold a connection with a body, either.
	c, err := dial("tcp", at)
	must(t, err)
	defer c.Close()
	secure := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	must(t, secure.SetDeadline(time.Now().Add(patience)))
	trickle("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")(secure, nil)
	if _, err := io.Copy(io.Discard, secure); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the agent keeps the connection")
	}
	a.stop()

	unreadable := filepath.Join(dir, "unreadable.yml")
	must(t, os.WriteFile(unreadable, []byte(users), 0o600))
	open := filepath.Join(dir, "open.yml")
	must(t, os.WriteFile(open, []byte(users), 0o644))
	serve := func(args ...string) outcome {
		cmd := command(append([]string{"serve", "--socket", filepath.Join(dir, "no.sock"), "-N", ns.Path()}, args...)...)
		cmd.Path = shipped(t)
		return ended(t, cmd)
	}
	serve("--web-config", open, "--listen", "off").failed(t, exitUsage, "--web-config conflicts with --listen off")
	serve("--web-config", open, "--listen", "0.0.0.0:0").failed(t, exitUsage, "tls_server_config")
	serve("--web-config", filepath.Join(dir, "none.yml")).failed(t, exitFailed, "--web-config: ", "none.yml")
	o := serve("--web-config", unreadable, "--listen", "127.0.0.1:0", "--user", "65534:65534")
	if o.code != exitFailed || !strings.Contains(o.stderr, "unreadable.yml as uid 65534") {
		t.Errorf("a file that the speaker may not read: %+v", o)
	}
}

// TestAgentPort: an agent whose usual port is taken goes on without it, unless it was asked for.
func TestAgentPort(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := kerneltest.NetNS(t)
	program := shipped(t)
	var taken net.Listener
	ns.Do(t, func() {
		var err error
		taken, err = net.Listen("tcp", defaultListen)
		must(t, err)
	})
	dir := t.TempDir()
	serve := func(args ...string) outcome {
		cmd := command(append([]string{"serve", "-N", ns.Path(), "--socket", filepath.Join(dir, "agent.sock")}, args...)...)
		cmd.Path = program
		var o outcome
		ns.Do(t, func() { o = ended(t, cmd) })
		return o
	}
	serve("--listen", defaultListen).failed(t, exitFailed, "--listen: ", "address already in use")
	without := fmt.Sprintf("%s is taken", defaultListen)
	if o := serve("--duration", "1s"); o.code != 0 || !strings.Contains(o.stderr, without) || strings.Contains(o.stderr, "http://") {
		t.Errorf("with a taken port: %+v", o)
	}
	taken.Close()
	if o := serve("--duration", "1s"); o.code != 0 || !strings.Contains(o.stderr, "http://"+defaultListen) {
		t.Errorf("with a free port: %+v", o)
	}
}
