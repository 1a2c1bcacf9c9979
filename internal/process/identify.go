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

// identify finds the unit, the container and the pod in the path of a cgroup. If the
// path does not show the runtime, that stays "".
func identify(path string) Place {
	place := Place{Cgroup: path}
	names := components(path)
	place.Unit = unitOf(names)
	for i, name := range names {
		if pod := podOf(name, names[:i]); pod != "" {
			place.Pod = pod
		}
		id, runtime := containerOf(names, i)
		if id == "" || id == place.Container && runtime == "" { // or a directory of its own below the scope
			continue
		}
		place.Container, place.Runtime = id, runtime
	}
	return place
}

// components splits a path. A path outside the reader's cgroup namespace starts with
// "/..", which names nothing.
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
// scope or without: prefix, id, and maybe ".scope". In the names of their monitors
// (crio-conmon-ID, libpod-conmon-ID) no id follows the prefix: these are no containers.
var scopes = []struct{ prefix, runtime string }{
	{"docker-", docker},
	{"cri-containerd-", containerd},
	{"nerdctl-", containerd},
	{"containerd-", containerd},
	{"crio-", crio},
	{"libpod-payload-", podman}, // --cgroups=split
	{"libpod-", podman},
}

// parents are cgroups whose child directories are containers, named by their id:
// that of dockerd with the cgroupfs driver, and containerd's namespaces.
var parents = map[string]string{
	"docker":        docker,
	"k8s.io":        containerd,
	"moby":          docker,
	"default":       containerd,
	"libpod_parent": podman,
}

// containerOf returns the id of the container that names[i] is the cgroup of, "" if
// there is none.
func containerOf(names []string, i int) (id, runtime string) {
	name, parent := names[i], ""
	if i > 0 {
		parent = names[i-1]
	}
	if f := strings.Split(name, ":"); len(f) == 3 {
		// kubelet requests a scope from the systemd driver as slice:prefix:id. A
		// runtime with the cgroupfs driver makes a directory of that name.
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

// machineOf is containerOf for machines of systemd-machined, which have a unit each.
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

// podOf returns the UID of the Kubernetes pod that name is the cgroup of, "" if there
// is none. The systemd driver writes it with underscores, because a dash in the name
// of a slice means a parent slice. Static pods have 32 digits without any.
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

// unitOf returns the unit of a process as systemd finds it in cg_path_get_unit and
// cg_path_get_user_unit: the first unit that is no slice; below a user's manager the
// first one below that; without any, the innermost slice.
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
		n = strings.TrimPrefix(n, "_") // systemd's escape for names that the kernel may use
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

// isUnit reports whether a name is a unit that has a cgroup (systemd.unit(5)).
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

// isID reports whether s is the id of a container: 64 lower-case hexadecimal digits,
// as all OCI runtimes make them.
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
