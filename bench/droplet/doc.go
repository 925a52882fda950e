// Command droplet runs one droplet on a tap that was made before, as a subject
// for the measuring kit: what it adds to an exec is the tender alone, without
// the network that `dew run` makes. The README beside it has the figures.
package main
