package socket

// Numbers of Linux 6.18 that package syscall does not have.
const (
	// include/uapi/asm-generic/socket.h
	soNoCheck       = 11
	soReusePort     = 15
	soBindToDevice  = 25
	soSndbufForce   = 32
	soRcvbufForce   = 33
	soProtocol      = 38
	soDomain        = 39
	soBusyPoll      = 46
	soMaxPacingRate = 47
	soIncomingCPU   = 49
	soCookie        = 57
	soZeroCopy      = 60

	// include/uapi/linux/in.h
	ipTransparent       = 19
	ipOrigDstAddr       = 20
	ipRecvOrigDstAddr   = 20
	ipBindAddressNoPort = 24
	ipMulticastAll      = 49

	// include/uapi/linux/tcp.h
	tcpThinLinear      = 16
	tcpUserTimeout     = 18
	tcpRepair          = 19
	tcpFastOpen        = 23
	tcpNotSentLowat    = 25
	tcpFastOpenConnect = 30
	tcpULP             = 31

	// include/uapi/linux/udp.h
	udpCork    = 1
	udpSegment = 103
	udpGRO     = 104

	// include/linux/socket.h
	msgMore     = 0x8000
	msgFastOpen = 0x20000000

	// include/uapi/linux/sockios.h
	siocOutQ       = 0x5411
	siocGIFNAME    = 0x8910
	siocGIFCONF    = 0x8912
	siocGIFFLAGS   = 0x8913
	siocGIFADDR    = 0x8915
	siocGIFDSTADDR = 0x8917
	siocGIFBRDADDR = 0x8919
	siocGIFNETMASK = 0x891b
	siocGIFMETRIC  = 0x891d
	siocGIFMTU     = 0x8921
	siocGIFHWADDR  = 0x8927
	siocGIFINDEX   = 0x8933
	siocGIFTXQLEN  = 0x8942
	siocETHTOOL    = 0x8946
	siocGIFMAP     = 0x8970

	// include/uapi/linux/netlink.h
	solNetlink       = 270
	netlinkMaxOption = 12     // NETLINK_GET_STRICT_CHK
	nlaFlags         = 0xc000 // NLA_F_NESTED, NLA_F_NET_BYTEORDER

	// include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h, if.h
	rtmGetQdisc    = 38
	rtmGetClass    = 42
	rtmGetFilter   = 46
	iflaOperState  = 16
	iflaAltName    = 53
	ifaFlags       = 8
	ifaPermanent   = 0x80
	ndaDst         = 1
	ndaLinkAddress = 2
	nudPermanent   = 0x80
	iffLowerUp     = 0x10000
	ifOperUnknown  = 0
	ifOperUp       = 6
)
