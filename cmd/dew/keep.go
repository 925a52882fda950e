package main

import (
	"context"

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
	remove := func() {} // QEMU's root, which is made when it is needed
	defer func() { remove() }()
	return keeper.Serve(context.WithoutCancel(ctx), k.Folder, map[string]keeper.Maker{
		"process": func(context.Context) (tender.Tender, error) { return process.New() },
		"qemu": func(ctx context.Context) (tender.Tender, error) {
			root, done, err := jail()
			if err != nil {
				return nil, err
			}
			remove = done
			return qemu.Find(ctx, root)
		},
	})
}
