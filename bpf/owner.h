/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef TWTRACE_OWNER_H
#define TWTRACE_OWNER_H

#include "follow.h"

static __always_inline __u64 mix(__u64 hash, __u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 29;
}

/* The hash takes what makes a process another one than before, not what follows from it. */
static __always_inline __u64 proc_id(const struct proc *p)
{
	const __u64 *comm = (const __u64 *)p->comm;
	__u64 hash = mix(p->start, p->cgroup);

	hash = mix(hash, (__u64)p->uid << 32 | p->ppid);
	hash = mix(mix(hash, comm[0]), comm[1]);
	return (__u64)p->tgid << PROC_TGID_SHIFT | hash >> (64 - PROC_TGID_SHIFT);
}

/*
 * Is it in twtrace_procs? Most of the time this CPU knows: the map is asked once in a while
 * all the same, for it to see that the process is still in use.
 */
static __always_inline bool is_known(__u64 id)
{
	struct cpu_state *cpu = this_cpu();
	__u64 *slot;

	if (!cpu)
		return false;
	slot = &cpu->known[id % KNOWN_PROCS];
	if (*slot == id && ++cpu->lookups % KNOWN_PROCS)
		return true;
	if (!bpf_map_lookup_elem(&twtrace_procs, &id))
		return false;
	*slot = id;
	return true;
}

/*
 * The current process, for transitions that happen in the context of the caller: its
 * proc id, and its entry in twtrace_procs. The comm is the thread group leader's: io_uring
 * workers and thread pools have names of their own. A kernel thread is nobody's owner.
 */
__noinline __u64 current_proc(void)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct proc p = {};
	__u64 id;

	if (t->flags & PF_KTHREAD)
		return 0;
	p.tgid = t->tgid;
	p.start = t->group_leader->start_boottime;
	p.cgroup = t->cgroups->dfl_cgrp->kn->id;
	p.uid = t->cred->uid.val;
	p.ppid = t->real_parent->tgid;
	bpf_core_read(p.comm, sizeof(p.comm), &t->group_leader->comm);
	id = proc_id(&p);
	if (is_known(id))
		return id;
	bpf_core_read(p.pcomm, sizeof(p.pcomm), &t->real_parent->group_leader->comm);
	p.followed = is_followed(p.tgid, p.start);
	if (bpf_map_update_elem(&twtrace_procs, &id, &p, BPF_ANY))
		count(LOSS_PROCS);
	return id;
}

#endif
