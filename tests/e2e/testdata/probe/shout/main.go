// Command shout says its arguments; "at work" never ends, "fail" fails.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	text := strings.Join(os.Args[1:], " ")
	fmt.Println("shout:", text)
	switch text {
	case "at work":
		for {
			time.Sleep(time.Hour)
		}
	case "fail":
		os.Exit(3)
	}
}
