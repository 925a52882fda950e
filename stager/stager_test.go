package stager

import (
	"os"
	"testing"

	"github.com/dewpaas/dew/stager/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.Inside() {
		os.Exit(sandbox.Serve())
	}
	os.Exit(m.Run())
}
