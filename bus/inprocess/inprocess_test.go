package inprocess

import (
	"testing"

	"github.com/dewpaas/dew/bus"
	"github.com/dewpaas/dew/bus/bustest"
)

func TestBus(t *testing.T) { bustest.Run(t, func(*testing.T) bus.Bus { return New() }) }
