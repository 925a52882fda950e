package main

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/dewpaas/dew/firewall"
)

// kit writes the rules of a thousand instances and ten thousand group rules for
// the namespaces of the measuring kit: a client at 10.90.1.2 behind w0, a server
// at 10.90.2.2 behind w1.
type kit struct {
	Rules int    `default:"10000"`
	Out   string `arg:"" help:"file for --extra NAME:FILE"`
}

// Run writes the file.
func (k *kit) Run() error {
	t := walled(k.Rules, netip.MustParseAddr("10.90.2.2"))
	t.Endpoints[0].Addr = netip.MustParseAddr("10.90.1.2")
	for i := range t.Endpoints[1:] {
		t.Endpoints[i+1].VNIC = "" // per-tap hooks exist only for devices that are there
	}
	rules, problems := firewall.Compile(t, firewall.Kernel{Lock: firewall.LockDevice})
	if len(problems) > 0 {
		return fmt.Errorf("%v", problems)
	}
	text := strings.NewReplacer(`"dew0"`, `"w0"`, `"dew*"`, `"w0"`,
		// The kit's cables have random MACs.
		"02:de:77:01:00:00", "00:00:00:00:00:00-ff:ff:ff:ff:ff:ff",
		"type ifname . ether_addr . ipv4_addr\n", "type ifname . ether_addr . ipv4_addr\n\t\tflags interval\n").Replace(rules.Text())
	text = regexp.MustCompile(`.*@ll,0,48 != .*\n`).ReplaceAllString(text, "")
	return os.WriteFile(k.Out, []byte(text), 0o644)
}
