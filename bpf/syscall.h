/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* The system call that the current task is in, from the registers it was entered with. */
#ifndef TWTRACE_SYSCALL_H
#define TWTRACE_SYSCALL_H

#include "compat.h"
#include "config.h"

struct syscall {
	__s64 nr;
	__u64 arg0;
	__u64 arg1;
};

/* arm64 keeps its first argument apart, since the result takes its place. */
struct pt_regs___arm64 {
	__u64 regs[31];
	__u64 orig_x0;
	__s32 syscallno;
} __attribute__((preserve_access_index));

static __always_inline void this_syscall(struct syscall *s)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct pt_regs___arm64 *arm = (void *)regs;

	if (bpf_core_field_exists(regs->orig_ax)) {
		s->nr = BPF_CORE_READ(regs, orig_ax);
		s->arg0 = BPF_CORE_READ(regs, di);
		s->arg1 = BPF_CORE_READ(regs, si);
	} else {
		s->nr = BPF_CORE_READ(arm, syscallno);
		s->arg0 = BPF_CORE_READ(arm, orig_x0);
		s->arg1 = BPF_CORE_READ(arm, regs[1]);
	}
}

/* An io_uring worker has the registers of the call during which it was made. */
static __always_inline bool in_connect(void)
{
	struct syscall s;

	if (!nr_connect || bpf_get_current_task_btf()->flags & PF_IO_WORKER)
		return false;
	this_syscall(&s);
	return s.nr == nr_connect;
}

#endif
