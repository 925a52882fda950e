package netlink

// Names and values of linux/netfilter/nfnetlink.h and linux/netlink.h that
// package unix does not have.
const (
	NFNL_SUBSYS_CTNETLINK = 1
	NFNL_SUBSYS_ULOG      = 4
	NFNL_SUBSYS_NFTABLES  = 10

	NFNL_MSG_BATCH_BEGIN = 0x10
	NFNL_MSG_BATCH_END   = 0x11
	NFNL_BATCH_GENID     = 1

	NLMSGERR_ATTR_MSG = 1
)
