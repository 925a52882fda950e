// Package droplettest makes programs that a droplet may have, for tests that keep,
// send or check droplets and never run one.
//
// Tests of droplet, stager/pvh and cmd/dew/depot use it. It owns nothing and refuses nothing.
package droplettest
