package agent

import (
	"html/template"
	"net/http"

	"github.com/twtrace/twtrace/internal/event"
)

var indexForm = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>twtrace agent{{with .Host}} of {{.}}{{end}}</title>
</head>
<body>
<h1>twtrace agent{{with .Host}} of {{.}}{{end}}</h1>
<p>Version {{.Version}}{{with .Filter}}; traces only {{.}}{{end}}.</p>
<ul>
<li><a href="/metrics">/metrics</a>: metrics for Prometheus</li>
<li><a href="/v1/findings">/v1/findings</a>: what is wrong now, as twtrace doctor -o json prints it</li>
<li><a href="/v1/ports">/v1/ports</a>: ports used and usable by destination, as twtrace ports -o json prints them</li>
<li><a href="/v1/status">/v1/status</a>: what the agent has, as twtrace agent status -o json prints it</li>
<li>/v1/stream: records of the past and from now on, at the unix socket, or with a client certificate</li>
<li><a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>: whether it runs, and traces</li>
</ul>
</body>
</html>
`))

// index answers / with what there is.
func (a *agent) index(w http.ResponseWriter, _ *http.Request) {
	start := a.started.Load()
	if start == nil {
		start = new(event.StartInfo)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = indexForm.Execute(w, struct{ Host, Filter, Version string }{start.Host, start.Filter, a.opt.Version}) // an error is that of the connection
}
