package process

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// host is a made-up root directory.
type host struct {
	t    *testing.T
	root string
}

func (h host) write(name, content string) string {
	h.t.Helper()
	name = h.root + name
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return name
}

// What the runtimes write, cut down to a little around what is read.
const (
	dockerConfig = `{"StreamConfig":{},"State":{"Running":true,"Pid":4711},"ID":"` + idA + `","Config":{"Hostname":"3f2a6c1be0d9",
		"Image":"nginx","Labels":{"maintainer":"NGINX"}},"Image":"sha256:00","Name":"/web","Driver":"overlay2"}`
	dockerPod = `{"Name":"/k8s_nginx_web-0_shop_` + uid + `_0","Config":{"Labels":{"io.kubernetes.container.name":"nginx",
		"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"` + uid + `"}}}`
	criConfig = `{"ociVersion":"1.1.0","process":{"terminal":false,"args":["nginx"]},"annotations":{
		"io.kubernetes.cri.container-name":"nginx","io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"` + idB + `",
		"io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"` + uid + `"}}`
	nerdctlConfig = `{"annotations":{"nerdctl/name":"web","nerdctl/namespace":"default"}}`
	crioConfig    = `{"annotations":{"io.container.manager":"cri-o","io.kubernetes.container.name":"nginx",
		"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"` + uid + `"}}`
	podmanConfig = `{"ociVersion":"1.2.0","hostname":"3f2a6c1be0d9","annotations":{"io.container.manager":"libpod"}}`
	storageList  = `[{"id":"` + idB + `","names":["other"]},{"id":"` + idA + `","names":["web"],"image":"00","layer":"11","flags":{}}]`
)

func TestNames(t *testing.T) {
	const (
		dockerFile  = "/var/lib/docker/containers/" + idA + "/config.v2.json"
		criFile     = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + idA + "/config.json"
		defaultFile = "/run/containerd/io.containerd.runtime.v2.task/default/" + idA + "/config.json"
		storageFile = "/run/containers/storage/overlay-containers/" + idA + "/userdata/config.json"
		listFile    = "/var/lib/containers/storage/overlay-containers/containers.json"
		user        = "/user.slice/user-1000.slice/user@1000.service/user.slice"
	)
	tests := []struct {
		name, path, file, content string
		runtime, container        string
		pod, podName, namespace   string
		failed, absent            uint64
	}{
		{name: "no container", path: "/system.slice/nginx.service"},
		{name: "no files", path: "/docker/" + idA, runtime: docker, absent: 1},
		{name: "docker", path: "/docker/" + idA, file: dockerFile, content: dockerConfig, runtime: docker, container: "web"},
		{name: "docker with a parent of its own", path: "/ci/" + idA, file: dockerFile, content: dockerConfig, runtime: docker, container: "web"},
		{name: "cri-dockerd", path: "/kubepods/burstable/pod" + uid + "/" + idA, file: dockerFile, content: dockerPod,
			runtime: docker, container: "nginx", pod: uid, podName: "web-0", namespace: "shop"},
		{name: "containerd CRI", path: "/kubepods.slice/kubepods-pod" + uidSlice + ".slice/cri-containerd-" + idA + ".scope", file: criFile, content: criConfig,
			runtime: containerd, container: "nginx", pod: uid, podName: "web-0", namespace: "shop"},
		{name: "containerd CRI, cgroupfs", path: "/kubepods/pod" + uid + "/" + idA, file: criFile, content: criConfig,
			runtime: containerd, container: "nginx", pod: uid, podName: "web-0", namespace: "shop"},
		{name: "containerd CRI, pod from the file", path: "/k8s.io/" + idA, file: criFile, content: criConfig,
			runtime: containerd, container: "nginx", pod: uid, podName: "web-0", namespace: "shop"},
		{name: "k3s", path: "/k8s.io/" + idA, file: "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" + idA + "/config.json", content: criConfig,
			runtime: containerd, container: "nginx", pod: uid, podName: "web-0", namespace: "shop"},
		{name: "nerdctl", path: "/default/" + idA, file: defaultFile, content: nerdctlConfig, runtime: containerd, container: "web"},
		{name: "CRI-O", path: "/kubepods/pod" + uid + "/crio-" + idA, file: storageFile, content: crioConfig,
			runtime: crio, container: "nginx", pod: uid, podName: "web-0", namespace: "shop"},
		{name: "podman has no name there", path: "/machine.slice/libpod-" + idA + ".scope", file: storageFile, content: podmanConfig, runtime: podman},
		{name: "podman's list", path: "/machine.slice/libpod-" + idA + ".scope/container", file: listFile, content: storageList, runtime: podman, container: "web"},
		{name: "podman's list, another", path: "/machine.slice/libpod-" + idC + ".scope", file: listFile, content: storageList, runtime: podman},
		{name: "podman rootless", path: user + "/libpod-" + idA + ".scope", file: "/run/user/1000/containers/overlay-containers/" + idA + "/userdata/config.json",
			content: podmanConfig, runtime: podman},
		{name: "the runtime is known: no other is asked", path: "/docker/" + idA, file: criFile, content: criConfig, runtime: docker, absent: 1},
		{name: "no JSON", path: "/docker/" + idA, file: dockerFile, content: "{", runtime: docker, failed: 1, absent: 1},
		{name: "too long", path: "/docker/" + idA, file: dockerFile, content: strings.Repeat(" ", stateMax) + dockerConfig, runtime: docker, failed: 1, absent: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := host{t, t.TempDir()}
			if tt.file != "" {
				h.write(tt.file, tt.content)
			}
			n := names{root: h.root}
			got := identify(tt.path)
			want := got
			want.Runtime, want.ContainerName, want.PodName, want.PodNamespace = tt.runtime, tt.container, tt.podName, tt.namespace
			if tt.pod != "" {
				want.Pod = tt.pod
			}
			n.find(&got)
			if got != want || n.failed != tt.failed || n.absent != tt.absent {
				t.Errorf("failed %d, absent %d\n got %+v\nwant %+v", n.failed, n.absent, got, want)
			}
		})
	}
}

// TestHostileState: a file that another user made is not waited for, not followed
// and not believed.
func TestHostileState(t *testing.T) {
	h := host{t, t.TempDir()}
	good := h.write("/good", "x")
	pipe, link := h.root+"/pipe", h.root+"/link"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	if b, err := readState(good, 1, 0); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	for _, name := range []string{pipe, link, h.root, h.root + "/absent"} {
		if b, err := readState(name, 1, 0); err == nil {
			t.Errorf("read %s: %q", name, b)
		}
	}
	if os.Geteuid() != 0 {
		return // only root can give a file away
	}
	if err := os.Chown(good, 4711, 0); err != nil {
		t.Fatal(err)
	}
	if b, err := readState(good, 1, 4711); err != nil || string(b) != "x" {
		t.Errorf("of that user: %q, %v", b, err)
	}
	if b, err := readState(good, 1, 4712); err == nil {
		t.Errorf("of another user: %q", b)
	}
}

// TestNamesAreKept: the files of a container are read once, and again if it had no name.
func TestNamesAreKept(t *testing.T) {
	f := newFixture(t, 0)
	h := host{t, f.reader.names.root}
	path := "/docker/" + idA
	f.reader.describe(path)
	f.reader.describe(path)
	if f.reader.names.absent != 1 {
		t.Errorf("its files were read %d times, want 1", f.reader.names.absent)
	}
	file := h.write("/var/lib/docker/containers/"+idA+"/config.v2.json", dockerConfig)
	f.pass(unnamedFor)
	if got := f.reader.describe(path); got.ContainerName != "web" {
		t.Errorf("%+v", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	f.pass(2 * unnamedFor)
	if got := f.reader.describe(path); got.ContainerName != "web" || f.reader.names.absent != 1 {
		t.Errorf("%+v after the end of the container", got)
	}
}
