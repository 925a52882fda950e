package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dewpaas/dew/tender"
	"github.com/dewpaas/dew/tender/keeper"
	"github.com/dewpaas/dew/tender/process"
	"github.com/dewpaas/dew/tender/qemu"
)

// keepCmd is the process that holds a cell's guests; the cell starts it.
type keepCmd struct {
	Folder string `arg:"" type:"existingdir" help:"The cell's folder."`
}

func (k keepCmd) Run(ctx context.Context) error {
	return keeper.Serve(context.WithoutCancel(ctx), k.Folder, map[string]keeper.Maker{
		"process": func(context.Context) (tender.Tender, error) { return process.New() },
		"qemu": func(ctx context.Context) (tender.Tender, error) {
			jail := filepath.Join(os.TempDir(), fmt.Sprintf("dew-jail-%d", os.Getpid()))
			if err := os.MkdirAll(jail, 0o555); err != nil {
				return nil, err
			}
			return qemu.Find(ctx, jail)
		},
	})
}
