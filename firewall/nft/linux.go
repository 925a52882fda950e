package nft

// Names and values of linux/netfilter/nf_tables.h that package unix does not
// have.
const (
	NFTA_SET_DESC_CONCAT       = 2
	NFTA_SET_FIELD_LEN         = 1
	NFTA_SET_ELEM_KEY_END      = 10
	NFTA_SET_ELEM_EXPRESSIONS  = 11
	NFT_SET_CONCAT             = 0x80
	NFTA_HOOK_DEVS             = 4
	NFTA_DEVICE_NAME           = 1
	NFTA_DEVICE_PREFIX         = 2 // since Linux 6.17
	NFTA_DYNSET_EXPRESSIONS    = 10
	NFT_DYNSET_F_EXPR          = 2
	NFTA_BITWISE_OP            = 6
	NFTA_LOG_LEVEL_DEFAULT     = 4
	NFT_MSG_DESTROYSETELEM     = 0x1e
	NFNLGRP_NFTABLES           = 7
	NF_NETDEV_INGRESS          = 0
	NF_INET_PRE_ROUTING        = 0
	NF_INET_LOCAL_IN           = 1
	NF_INET_FORWARD            = 2
	NF_INET_LOCAL_OUT          = 3
	NF_INET_POST_ROUTING       = 4
	NFPROTO_IPV4               = 2
	NFPROTO_NETDEV             = 5
	NFPROTO_IPV6               = 10
	NF_DROP                    = 0
	NF_ACCEPT                  = 1
	NF_CT_STATE_INVALID_BIT    = 1 << 0
	NF_CT_STATE_ESTABLISHED    = 1 << 1
	NF_CT_STATE_RELATED        = 1 << 2
	NF_CT_STATE_NEW            = 1 << 3
	NFTA_CT_TIMEOUT_L3PROTO    = 1
	NFTA_CT_TIMEOUT_L4PROTO    = 2
	NFTA_CT_TIMEOUT_DATA       = 3
	IPS_CONFIRMED              = 1 << 3
	IPS_DST_NAT                = 1 << 5
	ICMP_ADMIN_PROHIBITED_CODE = 13 // ICMP_PKT_FILTERED
)
