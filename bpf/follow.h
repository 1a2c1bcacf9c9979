/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * --follow and `-- CMD`: some processes and all that they fork. Both hooks are only
 * attached then.
 */
#ifndef TWTRACE_FOLLOW_H
#define TWTRACE_FOLLOW_H

#include "maps.h"

struct follow {
	__u64 start; /* of the process, in ticks after boot, as user space has it of /proc */
	__u32 children_only; /* not the process itself: it is twtrace, which starts CMD */
	__u32 pad;
};

/*
 * followed: by tgid. Inserted: by user space at the start, and at each fork of one that is
 * in it. Deleted: once the process is gone, its sockets closed. Full: the child is not
 * followed, LOSS_FOLLOW counts it. One entry unless anything is to be followed.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct follow);
} followed SEC(".maps");

/* The entry of a process, not of another that had its pid: ticks may be cut either way. */
static __always_inline struct follow *followed_entry(__u32 tgid, __u64 start_boottime)
{
	struct follow *f = bpf_map_lookup_elem(&followed, &tgid);
	__u64 ticks = start_boottime / NS_PER_TICK;

	if (!f || ticks > f->start + 1 || f->start > ticks + 1)
		return NULL;
	return f;
}

static __always_inline bool is_followed(__u32 tgid, __u64 start_boottime)
{
	struct follow *f = followed_entry(tgid, start_boottime);

	return f && !f->children_only;
}

/* The child does not run yet. */
static __always_inline int on_fork(struct task_struct *parent, struct task_struct *child)
{
	struct follow f = { .start = child->start_boottime / NS_PER_TICK };
	__u32 tgid = child->tgid;

	if (child->pid != tgid) /* a thread */
		return 0;
	if (!followed_entry(parent->tgid, parent->group_leader->start_boottime))
		return 0;
	if (bpf_map_update_elem(&followed, &tgid, &f, BPF_ANY))
		count(LOSS_FOLLOW);
	return 0;
}

/* Later than its exit, which closes its sockets; its pid may be another's by now. */
static __always_inline int on_task_gone(struct task_struct *t)
{
	__u32 tgid = t->tgid;

	if (t->pid == tgid && followed_entry(tgid, t->start_boottime))
		bpf_map_delete_elem(&followed, &tgid);
	return 0;
}

#endif
