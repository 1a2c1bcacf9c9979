package process

import (
	"strconv"
	"strings"
)

// Names of runtimes.
const (
	docker     = "docker"
	containerd = "containerd"
	crio       = "cri-o"
	podman     = "podman"
	lxc        = "lxc"
	nspawn     = "systemd-nspawn"
)

// identify tells from the path of a cgroup alone which unit, container and pod it
// is. A runtime that the path does not tell stays "".
func identify(path string) Place {
	place := Place{Cgroup: path}
	names := components(path)
	place.Unit = unitOf(names)
	for i, name := range names {
		if pod := podOf(name, names[:i]); pod != "" {
			place.Pod = pod
		}
		id, runtime := containerOf(names, i)
		switch {
		case id == "":
			continue
		case id == place.Container:
			if runtime == "" { // a directory of its own below the scope
				continue
			}
		case place.Container != "" && place.Outer == "":
			place.Outer = place.Container
		}
		place.Container, place.Runtime = id, runtime
	}
	return place
}

// components splits a path. A path outside of the reader's cgroup namespace
// begins with "/..", which names nothing.
func components(path string) []string {
	names := strings.Split(path, "/")
	kept := names[:0]
	for _, n := range names {
		if n != "" && n != ".." {
			kept = append(kept, n)
		}
	}
	return kept
}

// scopes are the names that runtimes give the cgroup of a container, as systemd
// scope or without: prefix, id, and maybe ".scope". Those of the monitors
// (crio-conmon-ID, libpod-conmon-ID) are no ids, and so are not containers.
var scopes = []struct{ prefix, runtime string }{
	{"docker-", docker},
	{"cri-containerd-", containerd},
	{"nerdctl-", containerd},
	{"containerd-", containerd},
	{"crio-", crio},
	{"libpod-payload-", podman}, // --cgroups=split
	{"libpod-", podman},
}

// parents are cgroups right below which each directory is a container named by
// its id: that of dockerd with the cgroupfs driver, and containerd's namespaces.
var parents = map[string]string{
	"docker":        docker,
	"k8s.io":        containerd,
	"moby":          docker,
	"default":       containerd,
	"libpod_parent": podman,
}

// containerOf returns the id of the container whose cgroup names[i] is, "" if it
// is none.
func containerOf(names []string, i int) (id, runtime string) {
	name, parent := names[i], ""
	if i > 0 {
		parent = names[i-1]
	}
	if f := strings.Split(name, ":"); len(f) == 3 {
		// slice:prefix:id is how kubelet asks the systemd driver for a scope. A
		// runtime with the cgroupfs driver makes a directory of it as it is.
		name = f[1] + "-" + f[2]
	}
	name = strings.TrimSuffix(name, ".scope")
	for _, s := range scopes {
		if id, ok := strings.CutPrefix(name, s.prefix); ok && isID(id) {
			return id, s.runtime
		}
	}
	if isID(name) {
		return name, parents[parent]
	}
	if id, ok := strings.CutPrefix(name, "lxc.payload."); ok && id != "" {
		return id, lxc
	}
	switch {
	case parent == "lxc", parent == "lxc.payload":
		return name, lxc
	case parent == "default" && i == 1: // ctr: ids are names
		return name, containerd
	}
	return machineOf(names, i)
}

// machineOf is containerOf for what systemd-machined knows by a unit of its own.
// Virtual machines are no containers, and the supervisor of nspawn runs outside.
func machineOf(names []string, i int) (id, runtime string) {
	if i+1 < len(names) && names[i+1] == "supervisor" {
		return "", ""
	}
	if s, ok := cutBoth(names[i], "systemd-nspawn@", ".service"); ok {
		return unescape(s), nspawn
	}
	s, ok := cutBoth(names[i], "machine-", ".scope")
	if !ok {
		return "", ""
	}
	s = unescape(s)
	if strings.HasPrefix(s, "qemu-") {
		return "", ""
	}
	if driver, rest, _ := strings.Cut(s, "-"); driver == "lxc" { // libvirt: lxc-NUMBER-NAME
		if n, name, ok := strings.Cut(rest, "-"); ok && isNumber(n) {
			return name, lxc
		}
	}
	return s, nspawn
}

// podOf returns the UID of the Kubernetes pod whose cgroup name is, "" if it is
// none. The systemd driver writes it with underscores, because a dash means a
// slice below another one there. Static pods have 32 digits without any.
func podOf(name string, above []string) string {
	name, _, _ = strings.Cut(name, ":")
	if s, ok := strings.CutSuffix(name, ".slice"); ok {
		before, uid, ok := lastCut(s, "-pod")
		if ok && strings.Contains(before, "kubepods") {
			return strings.ReplaceAll(uid, "_", "-")
		}
		return ""
	}
	if uid, ok := strings.CutPrefix(name, "pod"); ok {
		for _, a := range above {
			if a == "kubepods" || strings.HasSuffix(a, "-kubepods") {
				return strings.ReplaceAll(uid, "_", "-")
			}
		}
	}
	return ""
}

// unitOf returns the unit that systemd takes the process to belong to, as in
// cg_path_get_unit and cg_path_get_user_unit: the first one that is no slice; of
// a user's manager the one below it; with none the innermost slice.
func unitOf(names []string) string {
	unit, rest := firstUnit(names)
	if strings.HasPrefix(unit, "user@") && strings.HasSuffix(unit, ".service") {
		user, _ := firstUnit(rest)
		if user != "" && user != "init.scope" && !strings.HasSuffix(user, ".slice") {
			return user
		}
	}
	return unit
}

func firstUnit(names []string) (unit string, rest []string) {
	for i, n := range names {
		n = strings.TrimPrefix(n, "_") // systemd's escape for what the kernel may use itself
		if !isUnit(n) {
			break
		}
		unit, rest = n, names[i+1:]
		if !strings.HasSuffix(n, ".slice") {
			break
		}
	}
	return unit, rest
}

// isUnit tells whether a name is a unit that has a cgroup (systemd.unit(5)).
func isUnit(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 1 {
		return false
	}
	switch name[dot:] {
	default:
		return false
	case ".service", ".scope", ".slice", ".socket", ".mount", ".swap":
	}
	for _, c := range []byte(name) {
		if !isAlnum(c) && !strings.ContainsRune(`:-_.\@`, rune(c)) {
			return false
		}
	}
	return true
}

// unescape undoes systemd's escape of a name in a unit name (systemd-escape(1)).
func unescape(s string) string {
	if !strings.ContainsAny(s, `\-`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x':
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
			b.WriteByte(s[i])
		case s[i] == '-':
			b.WriteByte('/')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// isID tells whether s is the id of a container: 64 lower-case hexadecimal digits,
// as all runtimes of the OCI kind make them.
func isID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func cutBoth(s, prefix, suffix string) (string, bool) {
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", false
	}
	s, ok = strings.CutSuffix(s, suffix)
	return s, ok && s != ""
}

func lastCut(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
