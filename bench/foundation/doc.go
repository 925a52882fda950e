// Command foundation puts hundreds of apps on one machine through the API and
// looks at what that costs: `dew up` with real guests under the process tender.
// It starts and ends its own foundation. The README beside it tells how to run
// it and what was measured; it exits with 1 when anything failed on the way.
package main
