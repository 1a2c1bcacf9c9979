package process

import (
	"strings"
	"testing"
)

// Ids and uids as the runtimes make them.
const (
	idA      = "3f2a6c1be0d94b7788aa5d1c0e9f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f"
	idB      = "b7c0ffee12345678deadbeefcafef00d0123456789abcdef0fedcba987654321"
	idC      = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	uid      = "6f9a3d52-1c9e-4a6b-9e1f-0a1b2c3d4e5f"
	uidSlice = "6f9a3d52_1c9e_4a6b_9e1f_0a1b2c3d4e5f"
	static   = "8d5e957f297893487bd98fa830fa6413" // of a static pod: a hash
)

func TestIdentify(t *testing.T) {
	user := "/user.slice/user-1000.slice/user@1000.service"
	tests := []struct {
		name, path                    string
		unit, container, runtime, pod string
	}{
		{name: "root", path: "/"},
		{name: "nothing", path: ""},

		{name: "docker cgroupfs", path: "/docker/" + idA, container: idA, runtime: docker},
		{name: "docker systemd", path: "/system.slice/docker-" + idA + ".scope", unit: "docker-" + idA + ".scope", container: idA, runtime: docker},
		{name: "docker systemd, systemd inside", path: "/system.slice/docker-" + idA + ".scope/init.scope", unit: "docker-" + idA + ".scope", container: idA, runtime: docker},
		{name: "docker rootless", path: user + "/user.slice/docker-" + idA + ".scope", unit: "docker-" + idA + ".scope", container: idA, runtime: docker},
		{name: "docker with a parent of its own", path: "/ci/build/" + idA, container: idA},
		{name: "ECS", path: "/ecs/1f2e3d4c5b6a79881f2e3d4c5b6a7988/" + idA, container: idA},
		{name: "docker daemon", path: "/system.slice/docker.service", unit: "docker.service"},
		{name: "docker in docker", path: "/docker/" + idA + "/docker/" + idB, container: idB, runtime: docker},
		{name: "three deep", path: "/docker/" + idA + "/docker/" + idB + "/docker/" + idC, container: idC, runtime: docker},

		{name: "ctr", path: "/default/redis-1", container: "redis-1", runtime: containerd},
		{name: "ctr, below", path: "/default/redis-1/worker", container: "redis-1", runtime: containerd},
		{name: "default elsewhere", path: "/system.slice/default/redis", unit: "system.slice"},
		{name: "nerdctl cgroupfs", path: "/default/" + idA, container: idA, runtime: containerd},
		{name: "nerdctl systemd", path: "/system.slice/nerdctl-" + idA + ".scope", unit: "nerdctl-" + idA + ".scope", container: idA, runtime: containerd},
		{name: "nerdctl rootless", path: user + "/user.slice/nerdctl-" + idA + ".scope", unit: "nerdctl-" + idA + ".scope", container: idA, runtime: containerd},
		{name: "containerd without kubelet's parent", path: "/k8s.io/" + idA, container: idA, runtime: containerd},

		{name: "k8s cgroupfs guaranteed", path: "/kubepods/pod" + uid + "/" + idA, container: idA, pod: uid},
		{name: "k8s cgroupfs burstable", path: "/kubepods/burstable/pod" + uid + "/" + idA, container: idA, pod: uid},
		{name: "k8s cgroupfs besteffort static", path: "/kubepods/besteffort/pod" + static + "/" + idA, container: idA, pod: static},
		{name: "k8s pod itself", path: "/kubepods/burstable/pod" + uid, pod: uid},
		{name: "k8s cgroupfs CRI-O", path: "/kubepods/burstable/pod" + uid + "/crio-" + idA, container: idA, runtime: crio, pod: uid},
		{name: "k8s systemd guaranteed", path: "/kubepods.slice/kubepods-pod" + uidSlice + ".slice/cri-containerd-" + idA + ".scope",
			unit: "cri-containerd-" + idA + ".scope", container: idA, runtime: containerd, pod: uid},
		{name: "k8s systemd burstable", path: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidSlice + ".slice/crio-" + idA + ".scope",
			unit: "crio-" + idA + ".scope", container: idA, runtime: crio, pod: uid},
		{name: "CRI-O, container below", path: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uidSlice + ".slice/crio-" + idA + ".scope/container",
			unit: "crio-" + idA + ".scope", container: idA, runtime: crio, pod: uid},
		{name: "k8s systemd besteffort static", path: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + static + ".slice/docker-" + idA + ".scope",
			unit: "docker-" + idA + ".scope", container: idA, runtime: docker, pod: static},
		{name: "k8s static with underscores", path: "/kubepods.slice/kubepods-pod" + uidSlice + ".slice",
			unit: "kubepods-pod" + uidSlice + ".slice", pod: uid},
		{name: "containerd with the wrong driver", path: "/system.slice/containerd.service/kubepods-burstable-pod" + uidSlice + ".slice:cri-containerd:" + idA,
			unit: "containerd.service", container: idA, runtime: containerd, pod: uid},
		{name: "CRI-O monitor", path: "/kubepods.slice/kubepods-pod" + uidSlice + ".slice/crio-conmon-" + idA + ".scope",
			unit: "crio-conmon-" + idA + ".scope", pod: uid},
		{name: "kind v1", path: "/docker/" + idA + "/kubelet/kubepods/besteffort/pod" + uid + "/" + idB, container: idB, pod: uid},
		{name: "kind v2", path: "/system.slice/docker-" + idA + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" +
			uidSlice + ".slice/cri-containerd-" + idB + ".scope",
			unit: "docker-" + idA + ".scope", container: idB, runtime: containerd, pod: uid},
		{name: "docker in a pod", path: "/kubepods/burstable/pod" + uid + "/" + idA + "/docker/" + idB, container: idB, runtime: docker, pod: uid},
		{name: "from another cgroup namespace", path: "/../cri-containerd-" + idA + ".scope", unit: "cri-containerd-" + idA + ".scope", container: idA, runtime: containerd},
		{name: "no pod", path: "/podium/" + "x"},
		{name: "podman is no pod", path: "/kubepods-like.slice/podman.service", unit: "podman.service"},

		{name: "podman rootful", path: "/machine.slice/libpod-" + idA + ".scope", unit: "libpod-" + idA + ".scope", container: idA, runtime: podman},
		{name: "podman v2", path: "/machine.slice/libpod-" + idA + ".scope/container", unit: "libpod-" + idA + ".scope", container: idA, runtime: podman},
		{name: "podman cgroupfs", path: "/libpod_parent/libpod-" + idA, container: idA, runtime: podman},
		{name: "podman bare below its parent", path: "/libpod_parent/" + idA, container: idA, runtime: podman},
		{name: "podman rootless", path: user + "/user.slice/libpod-" + idA + ".scope/container", unit: "libpod-" + idA + ".scope", container: idA, runtime: podman},
		{name: "podman pod", path: "/machine.slice/machine-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope", unit: "libpod-" + idA + ".scope", container: idA, runtime: podman},
		{name: "quadlet", path: "/system.slice/web.service/libpod-payload-" + idA, unit: "web.service", container: idA, runtime: podman},
		{name: "podman monitor", path: "/machine.slice/libpod-conmon-" + idA + ".scope", unit: "libpod-conmon-" + idA + ".scope"},
		{name: "podman in docker, same id below", path: "/docker/" + idA + "/libpod_parent/libpod-" + idB + "/" + idB, container: idB, runtime: podman},

		{name: "lxc v1", path: "/lxc/web-1", container: "web-1", runtime: lxc},
		{name: "lxc proxmox", path: "/lxc/101/ns/system.slice/nginx.service", container: "101", runtime: lxc},
		{name: "lxd", path: "/lxc.payload.c1/system.slice/nginx.service", container: "c1", runtime: lxc},
		{name: "lxc 4", path: "/lxc.payload/c1/init.scope", container: "c1", runtime: lxc},
		{name: "lxc monitor", path: "/lxc.monitor.c1"},
		{name: "lxc old monitor", path: "/lxc.monitor/c1"},
		{name: "libvirt lxc", path: `/machine.slice/machine-lxc\x2d1234\x2dmy\x2dbox.scope`, unit: `machine-lxc\x2d1234\x2dmy\x2dbox.scope`, container: "my-box", runtime: lxc},
		{name: "docker in lxd", path: "/lxc.payload.c1/docker/" + idA, container: idA, runtime: docker},

		{name: "nspawn unit", path: "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service", unit: "systemd-nspawn@web.service", container: "web", runtime: nspawn},
		{name: "nspawn escaped", path: `/machine.slice/systemd-nspawn@my\x2dweb.service/payload`, unit: `systemd-nspawn@my\x2dweb.service`, container: "my-web", runtime: nspawn},
		{name: "nspawn supervisor", path: "/machine.slice/systemd-nspawn@web.service/supervisor", unit: "systemd-nspawn@web.service"},
		{name: "nspawn by hand", path: `/machine.slice/machine-deb\x2d12.scope/payload/init.scope`, unit: `machine-deb\x2d12.scope`, container: "deb-12", runtime: nspawn},
		{name: "virtual machine", path: `/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator`, unit: `machine-qemu\x2d1\x2dvm.scope`},

		{name: "service", path: "/system.slice/nginx.service", unit: "nginx.service"},
		{name: "instance", path: "/system.slice/system-postgresql.slice/postgresql@15-main.service", unit: "postgresql@15-main.service"},
		{name: "cgroups of its own", path: "/system.slice/php-fpm.service/pool/www", unit: "php-fpm.service"},
		{name: "escaped for the kernel", path: "/system.slice/_cpu.service", unit: "cpu.service"},
		{name: "escapes of a unit stay", path: `/system.slice/dev-disk-by\x2duuid-1.swap`, unit: `dev-disk-by\x2duuid-1.swap`},
		{name: "init", path: "/init.scope", unit: "init.scope"},
		{name: "slice", path: "/system.slice/system-getty.slice", unit: "system-getty.slice"},
		{name: "session", path: "/user.slice/user-1000.slice/session-3.scope", unit: "session-3.scope"},
		{name: "user service", path: user + "/app.slice/ssh-agent.service", unit: "ssh-agent.service"},
		{name: "user application", path: user + `/app.slice/app-gnome-firefox\x2desr-4711.scope`, unit: `app-gnome-firefox\x2desr-4711.scope`},
		{name: "user slices", path: user + "/app.slice/app-dbus.slice/dbus-broker.service", unit: "dbus-broker.service"},
		{name: "user manager", path: user + "/init.scope", unit: "user@1000.service"},
		{name: "user slice only", path: user + "/app.slice", unit: "user@1000.service"},
		{name: "systemd-run", path: "/system.slice/run-r6a3b1c9a7d2f4e0b8c5d6e7f8a9b0c1d.scope", unit: "run-r6a3b1c9a7d2f4e0b8c5d6e7f8a9b0c1d.scope"},
		{name: "systemd-run --user", path: user + "/app.slice/run-u12.service", unit: "run-u12.service"},
		{name: "no unit", path: "/process_api/27064006a972a9c54e07cb163aa399bf"},
		{name: "no unit either", path: "/a b.service"},
		{name: "suffix alone", path: "/.service"},
		{name: "upper case is no id", path: "/docker/" + strings.ToUpper(idA)},
		{name: "short is no id", path: "/system.slice/docker-" + idA[:63] + ".scope", unit: "docker-" + idA[:63] + ".scope"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := Place{Cgroup: tt.path, Unit: tt.unit, Container: tt.container, Runtime: tt.runtime, Pod: tt.pod}
			if got := identify(tt.path); got != want {
				t.Errorf("%s\n got %+v\nwant %+v", tt.path, got, want)
			}
		})
	}
}

func FuzzIdentify(f *testing.F) {
	for _, s := range []string{
		"/docker/" + idA, "/lxc/c1", "/machine.slice/machine-lxc\\x2d1.scope", "/kubepods-pod.slice", "/a:b:" + idA, "/../x.scope",
		`/machine.slice/systemd-nspawn@\x2.service`, "//", "/default/x", "/user@1.service/user@2.service",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := identify(path)

		if p.Runtime != "" && p.Container == "" {
			t.Errorf("%q: runtime %q of no container", path, p.Runtime)
		}
		if strings.Contains(p.Unit, "/") || !strings.Contains(path, p.Unit) {
			t.Errorf("%q: unit %q", path, p.Unit)
		}
	})
}

func TestParseCgroup(t *testing.T) {
	lines := func(l ...string) string { return strings.Join(l, "\n") + "\n" }
	tests := []struct {
		name, in string
		want     hierarchies
		best     string
		fails    string
	}{
		{name: "v2", in: "0::/system.slice/nginx.service\n", want: hierarchies{unified: "/system.slice/nginx.service"}, best: "/system.slice/nginx.service"},
		{name: "v2 removed", in: "0::/system.slice/run-1.scope (deleted)\n", want: hierarchies{unified: "/system.slice/run-1.scope"}, best: "/system.slice/run-1.scope"},
		{name: "v2 root", in: "0::/\n", want: hierarchies{unified: "/"}, best: "/"},
		{name: "colons", in: "0::/a:b:c\n", want: hierarchies{unified: "/a:b:c"}, best: "/a:b:c"},
		{name: "v1", in: lines("12:memory:/docker/"+idA, "4:pids:/docker/"+idA, "3:cpu,cpuacct:/docker/"+idA, "1:name=systemd:/docker/"+idA),
			want: hierarchies{systemd: "/docker/" + idA, pids: "/docker/" + idA, memory: "/docker/" + idA}, best: "/docker/" + idA},
		{name: "hybrid service", in: lines("4:pids:/system.slice/nginx.service", "1:name=systemd:/system.slice/nginx.service", "0::/system.slice/nginx.service"),
			want: hierarchies{"/system.slice/nginx.service", "/system.slice/nginx.service", "/system.slice/nginx.service", ""}, best: "/system.slice/nginx.service"},
		{name: "hybrid, v2 stays with the daemon", in: lines("4:pids:/docker/"+idA, "1:name=systemd:/docker/"+idA, "0::/system.slice/containerd.service"),
			want: hierarchies{unified: "/system.slice/containerd.service", systemd: "/docker/" + idA, pids: "/docker/" + idA}, best: "/docker/" + idA},
		{name: "hybrid, v2 not used", in: lines("8:pids:/", "4:memory:/process_api/27", "1:name=systemd:/", "0::/"),
			want: hierarchies{"/", "/", "/", "/process_api/27"}, best: "/process_api/27"},
		{name: "v1 systemd first", in: lines("8:pids:/a", "4:memory:/b", "1:name=systemd:/c"), want: hierarchies{"", "/c", "/a", "/b"}, best: "/c"},
		{name: "v1 pids next", in: lines("8:pids:/a", "4:memory:/b"), want: hierarchies{"", "", "/a", "/b"}, best: "/a"},
		{name: "mounted together", in: "5:cpu,memory:/b\n", want: hierarchies{memory: "/b"}, best: "/b"},
		{name: "empty", in: "", fails: "no hierarchy that shows"},
		{name: "others only", in: "5:cpuset:/\n", fails: "no hierarchy that shows"},
		{name: "two fields", in: "5:cpuset\n", fails: "three fields"},
		{name: "long line", in: "0::/" + strings.Repeat("x", 70_000), fails: "token too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseCgroup(strings.NewReader(tt.in))
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v, want one of %q", err, tt.fails)
				}
				return
			}
			if err != nil || got != tt.want || got.best() != tt.best {
				t.Errorf("got %+v, best %q, %v; want %+v, best %q", got, got.best(), err, tt.want, tt.best)
			}
		})
	}
}
