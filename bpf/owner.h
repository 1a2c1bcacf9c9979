/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef TWTRACE_OWNER_H
#define TWTRACE_OWNER_H

#include "event.h"
#include "compat.h"

/*
 * The current process, for transitions that happen in the context of the caller.
 * The comm is the thread group leader's: io_uring workers and thread pools have
 * names of their own. A kernel thread is nobody's owner.
 */
static __always_inline void set_current(struct task_id *id)
{
	struct task_struct *t = bpf_get_current_task_btf();

	if (t->flags & PF_KTHREAD)
		return;
	id->tgid = t->tgid;
	bpf_core_read(id->comm, sizeof(id->comm), &t->group_leader->comm);
}

#endif
