package cf

import "net/netip"

// Topology is who may talk to whom, as one cell has to know it: its own
// instances, those of other cells that may reach or be reached by them, and
// everything that allows. What it does not allow is denied.
type Topology struct {
	Endpoints []Endpoint
	Routes    []RoutedPort
	Policies  []NetworkPolicy
	Groups    []SecurityGroup
	Bindings  []GroupBinding
	// Names are the routes on internal domains, InternalDomains those domains:
	// what the cell's resolver answers, to whom Policies allow.
	Names           []InternalName
	InternalDomains []string

	// Gateway is the address at which the cell's own network stands behind every
	// vNIC. Router, health checks and resolver of this cell speak from it.
	Gateway    netip.Addr
	GatewayMAC [6]byte
	// Resolvers answer DNS, over UDP and TCP.
	Resolvers []netip.AddrPort
	// Routers are the addresses of routers that are not in the cell's network.
	Routers []netip.Addr
	// Guests is where instances have their addresses, on all cells. Only network
	// policies lead there, security groups never do.
	Guests []netip.Prefix
	// Protected is what a security group reaches only by a rule whose destination
	// lies within it: 0.0.0.0/0 does not name the host.
	Protected []Protected
}

// Stages of an Endpoint, and of a GroupBinding.
const (
	Running = "running"
	Staging = "staging"
)

// Endpoint is one instance as the network sees it.
type Endpoint struct {
	GUID        string // of the instance
	Index       int
	AppGUID     string
	AppName     string
	SpaceGUID   string
	OrgGUID     string
	ProcessType string
	Stage       string // Running or Staging: which security groups apply
	Addr        netip.Addr
	// Ports are what the process declared: the cell may check its health there,
	// and a route without a port leads to the first.
	Ports []uint16
	// Datagrams are UDP ports to which the cell passes what comes from outside.
	Datagrams []uint16
	// VNIC is the name of its tap on this cell; without one the instance runs on
	// another cell, and the rest does not matter here.
	VNIC string
	MAC  [6]byte
	MTU  int // bytes of IP packet
	// Rates bounds what it may send.
	Rates Rates
	// Ready instances have passed their checks: names and routes lead to them.
	Ready bool
}

// Rates bounds what a vNIC may send; zero is the platform's default. Bursts are
// what may be sent at once after a pause.
type Rates struct {
	Packets, PacketBurst         uint32 // frames a second
	Bytes, ByteBurst             uint64 // bytes a second
	Connections, ConnectionBurst uint32 // new connections a second
}

// RoutedPort says that a route leads to the instances of a process. Port 0 is
// the first port that the instance declared.
type RoutedPort struct {
	AppGUID     string
	ProcessType string
	Port        uint16
	Route       string // as the user knows it: www.example.com/path
}

// InternalName says that a route on an internal domain leads to the instances
// of a process.
type InternalName struct {
	Name        string // back.apps.internal
	AppGUID     string
	ProcessType string
}

// Protected is a destination that no broad rule opens.
type Protected struct {
	Prefix netip.Prefix
	What   string // "the host", "metadata addresses": for explanations
}
