package api

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dewpaas/dew/cf"
)

// option is the value of a route option. A number is taken as it is written.
type option string

// UnmarshalJSON takes a text or a number.
func (o *option) UnmarshalJSON(b []byte) error {
	var n json.Number
	if json.Unmarshal(b, &n) == nil {
		*o = option(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(o))
}

// options are those of a route; null takes one away.
type options map[string]*option

// apply changes a route's options to what they are together. What belongs to
// balancing by hash goes with it, as in Cloud Foundry.
func (o options) apply(c *call, into *cf.Route) error {
	names, ways := []string{"loadbalancing"}, []string{"round-robin", "least-connection"}
	hash, err := c.flag("hash_based_routing")
	if err != nil {
		return err
	}
	if hash {
		names, ways = append(names, "hash_header", "hash_balance"), append(ways, "hash")
	}
	for name, v := range o {
		if !slices.Contains(names, name) {
			return unprocessable("Options can only be '%s'", strings.Join(names, "', '"))
		}
		into.Options = change(into.Options, name, (*string)(v))
	}
	way := into.Options["loadbalancing"]
	if v := o["loadbalancing"]; v != nil && !slices.Contains(ways, way) {
		return unprocessable("Loadbalancing must be one of '%s' if present", strings.Join(ways, ", "))
	}
	if way == "hash" {
		return goodHash(into.Options)
	}
	for name, text := range map[string]string{"hash_header": "Hash header", "hash_balance": "Hash balance"} {
		if o[name] != nil {
			return unprocessable("%s can only be set when loadbalancing is hash", text)
		}
		delete(into.Options, name)
	}
	return nil
}

// headerForm is a token, RFC 9110 section 5.6.2.
var headerForm = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func goodHash(set map[string]string) error {
	switch header := set["hash_header"]; {
	case header == "":
		return unprocessable("Hash header must be present when loadbalancing is set to hash.")
	case len(header) > 128:
		return unprocessable("Hash header must be at most 128 characters")
	case !headerForm.MatchString(header):
		return unprocessable("Hash header must be the name of a header")
	}
	text, ok := set["hash_balance"]
	if !ok {
		return nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || len(text) > 16 {
		return unprocessable("Hash balance must be a numeric value of at most 16 characters")
	}
	if v != 0 && !(v >= 1.1 && v <= 10) {
		return unprocessable("Hash balance must be either 0 or between 1.1 and 10.0")
	}
	set["hash_balance"] = strconv.FormatFloat(v, 'f', 1, 64)
	return nil
}
