package cf

// NetworkPolicy lets the instances of one app connect to those of another, on
// the ports from StartPort to EndPort. Protocol is tcp or udp.
type NetworkPolicy struct {
	Meta
	SourceGUID      string `json:"source_guid"`
	DestinationGUID string `json:"destination_guid"`
	Protocol        string `json:"protocol"`
	StartPort       int    `json:"start_port"`
	EndPort         int    `json:"end_port"`
}

func (*NetworkPolicy) Noun() Noun { return "network_policies" }
func (p *NetworkPolicy) Keys() Keys {
	return Keys{"source_guid": ref(p.SourceGUID), "destination_guid": ref(p.DestinationGUID), "protocol": p.Protocol,
		"start_port": int64(p.StartPort), "end_port": int64(p.EndPort)}
}
