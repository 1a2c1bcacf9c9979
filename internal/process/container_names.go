package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// names finds the names of containers in the files that runtimes write about them.
// It calls neither their APIs nor their commands. It is not safe for concurrent use.
type names struct {
	root   string // "" on a host, another directory in tests
	failed uint64 // files that exist and could not be used
	absent uint64 // containers without a file
}

// stateMax is how long a runtime's file about one container may be, indexMax one
// about all its containers, in bytes.
const (
	stateMax = 1 << 20
	indexMax = 8 << 20
)

// source is a file that may know the container, and how to read it.
type source struct {
	path  string
	limit int64
	parse func(b []byte, place *Place) error
	owner uint32 // the user that may own it, beside root
}

// find adds the name, the runtime and the pod of place.Container that the runtime's
// files have.
func (n *names) find(place *Place) {
	if place.Container == "" || strings.HasPrefix(place.Container, ".") {
		return
	}
	found := false
	for _, s := range n.sources(place) {
		b, err := readState(n.root+s.path, s.limit, s.owner)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = s.parse(b, place)
		}
		if err != nil {
			n.failed++
			continue
		}
		found = true
		if place.ContainerName != "" {
			return
		}
	}
	if !found {
		n.absent++
	}
}

// sources are the files that the runtime of a container would have, those of all
// runtimes if the path of the cgroup does not show which it is.
func (n *names) sources(place *Place) []source {
	id := place.Container
	is := func(runtime string) bool { return place.Runtime == runtime || place.Runtime == "" && isID(id) }
	var out []source
	if is(docker) {
		out = append(out, source{"/var/lib/docker/containers/" + id + "/config.v2.json", stateMax, parseDocker, 0})
	}
	if is(containerd) {
		for _, dir := range []string{
			"/run/containerd/io.containerd.runtime.v2.task/k8s.io/",
			"/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/",
			"/run/containerd/io.containerd.runtime.v2.task/default/",
		} {
			out = append(out, source{dir + id + "/config.json", stateMax, parseContainerd, 0})
		}
	}
	if is(crio) || is(podman) {
		for _, dir := range []string{"/run/containers/storage", "/var/lib/containers/storage"} {
			out = append(out, source{dir + "/overlay-containers/" + id + "/userdata/config.json", stateMax, parseContainers, 0})
		}
		if uid := rootlessUID(place.Cgroup); uid != 0 {
			out = append(out, source{fmt.Sprintf("/run/user/%d/containers/overlay-containers/%s/userdata/config.json", uid, id),
				stateMax, parseContainers, uid})
		}
	}
	if is(podman) {
		for _, file := range []string{
			"/var/lib/containers/storage/overlay-containers/containers.json",
			"/run/containers/storage/overlay-containers/volatile-containers.json",
		} {
			out = append(out, source{file, indexMax, parseStorage, 0})
		}
	}
	return out
}

// rootlessUID returns the user whose systemd manager a cgroup is below, 0 if none.
func rootlessUID(path string) uint32 {
	_, s, _ := strings.Cut(path, "/user@")
	s, _, _ = strings.Cut(s, ".service/")
	uid, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(uid)
}

// parseDocker parses a config.v2.json. The labels are those of dockershim and
// cri-dockerd.
func parseDocker(b []byte, place *Place) error {
	var c struct {
		Name   string
		Config struct{ Labels map[string]string }
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("docker's config: %w", err)
	}
	place.Runtime = docker
	place.ContainerName = strings.TrimPrefix(c.Name, "/")
	place.kubernetes(c.Config.Labels)
	return nil
}

// parseContainerd parses the OCI config.json of a containerd task.
func parseContainerd(b []byte, place *Place) error {
	a, err := annotations(b)
	if err != nil {
		return err
	}
	place.Runtime = containerd
	place.ContainerName = a["nerdctl/name"]
	const cri = "io.kubernetes.cri."
	set(&place.ContainerName, a[cri+"container-name"])
	set(&place.PodName, a[cri+"sandbox-name"])
	set(&place.PodNamespace, a[cri+"sandbox-namespace"])
	set(&place.Pod, a[cri+"sandbox-uid"])
	return nil
}

// parseContainers parses the OCI config.json of Podman and of CRI-O, which have it in
// the same place.
func parseContainers(b []byte, place *Place) error {
	a, err := annotations(b)
	if err != nil {
		return err
	}
	switch a["io.container.manager"] {
	case "cri-o":
		place.Runtime = crio
	case "libpod":
		place.Runtime = podman
	}
	place.kubernetes(a)
	return nil
}

// parseStorage finds the container in the list of containers/storage.
func parseStorage(b []byte, place *Place) error {
	var list []struct {
		ID    string
		Names []string
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("list of containers: %w", err)
	}
	for _, c := range list {
		if c.ID == place.Container && len(c.Names) > 0 {
			set(&place.ContainerName, c.Names[0])
			set(&place.Runtime, podman)
		}
	}
	return nil
}

func annotations(b []byte) (map[string]string, error) {
	var c struct{ Annotations map[string]string }
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("OCI config: %w", err)
	}
	return c.Annotations, nil
}

// kubernetes adds the labels that kubelet gives a container. The pod in the path of
// the cgroup counts more, if there is one.
func (p *Place) kubernetes(labels map[string]string) {
	const k = "io.kubernetes."
	if name := labels[k+"container.name"]; name != "" {
		p.ContainerName = name
	}
	set(&p.PodName, labels[k+"pod.name"])
	set(&p.PodNamespace, labels[k+"pod.namespace"])
	if p.Pod == "" {
		p.Pod = labels[k+"pod.uid"]
	}
}

// set sets to if it is empty.
func set(to *string, value string) {
	if value != "" && *to == "" {
		*to = value
	}
}

// readState reads a file that others may have made to do harm: it waits for no pipe,
// follows no link at the end of the path, and reads no more than limit bytes.
func readState(name string, limit int64, owner uint32) ([]byte, error) {
	fd, err := openat(unix.AT_FDCWD, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("read %s: not a regular file", name)
	case st.Size > limit:
		return nil, fmt.Errorf("read %s: %d bytes, expected at most %d", name, st.Size, limit)
	case st.Uid != 0 && st.Uid != owner && int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("read %s: user %d owns it", name, st.Uid)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
