/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* What a received segment says about itself. */
#ifndef TWTRACE_SKB_H
#define TWTRACE_SKB_H

#include "emit.h"

/* Byte 13 of the TCP header. */
#define TCP_FLAGS_OFFSET 13
#define TCP_FLAG_FIN_BYTE 0x01
#define TCP_FLAG_RST_BYTE 0x04

static __always_inline __u8 tcp_flags(struct sk_buff *skb)
{
	void *th = skb->head + skb->transport_header;
	__u8 flags = 0;

	bpf_probe_read_kernel(&flags, sizeof(flags), th + TCP_FLAGS_OFFSET);
	return flags;
}

/*
 * The connection of a received TCP segment, as its receiver sees it, and the flags. The
 * namespace is that of the device it came in by. False if it is no such segment.
 */
static __always_inline bool tuple_of_skb(struct event *e, __u8 *flags, struct sk_buff *skb)
{
	void *nh = skb->head + skb->network_header, *th = skb->head + skb->transport_header;
	struct net_device *dev = BPF_CORE_READ(skb, dev);
	__u8 version = 0, proto = 0;
	__be16 ports[2] = {};

	if (!dev || skb->network_header == skb->transport_header)
		return false;
	bpf_probe_read_kernel(&version, sizeof(version), nh);
	if (version >> 4 == 4) {
		bpf_probe_read_kernel(&proto, sizeof(proto), nh + 9);
		bpf_probe_read_kernel(e->raddr, 4, nh + 12);
		bpf_probe_read_kernel(e->laddr, 4, nh + 16);
		e->family = 4;
	} else if (version >> 4 == 6) {
		/* Extension headers are left out: they do not come with these segments. */
		bpf_probe_read_kernel(&proto, sizeof(proto), nh + 6);
		bpf_probe_read_kernel(e->raddr, 16, nh + 8);
		bpf_probe_read_kernel(e->laddr, 16, nh + 24);
		e->family = 6;
	}
	if (proto != IPPROTO_TCP)
		return false;
	bpf_probe_read_kernel(ports, sizeof(ports), th);
	e->rport = bpf_ntohs(ports[0]);
	e->lport = bpf_ntohs(ports[1]);
	e->netns = BPF_CORE_READ(dev, nd_net.net, ns.inum);
	*flags = tcp_flags(skb);
	return true;
}

#endif
